// `morendo start`: runs the server in the foreground until it is told to stop, and ends with the exit code of its run.

import { join } from "node:path";
import { Command, type Option } from "commander";
import type { Config } from "../../config/schema.ts";
import { ControlServer } from "../../control/control-server.ts";
import { DataLock } from "../../control/data-lock.ts";
import { HttpServer } from "../../control/http/http-server.ts";
import { accountsPort } from "../../operations/accounts-port.ts";
import type { Caller } from "../../operations/operation.ts";
import { Operations } from "../../operations/operations.ts";
import { Rights } from "../../operations/rights.ts";
import { operationTable } from "../../operations/table.ts";
import { UserAdmin } from "../../operations/user-admin.ts";
import { Server } from "../../server/server.ts";
import { measureLoopDelay } from "../../shutdown/loop-delay.ts";
import { leave } from "../../shutdown/loop-holders.ts";
import { logProgress } from "../../shutdown/progress-log.ts";
import { showProgress } from "../../shutdown/progress-terminal.ts";
import type { DrainReport } from "../../shutdown/report.ts";
import { describeReport } from "../../shutdown/report-text.ts";
import { listenToSignals } from "../../shutdown/signals.ts";
import { ThreadWatchdog } from "../../shutdown/watchdog.ts";
import { WATCHDOG_FILE } from "../../shutdown/watchdog-report.ts";
import { asError } from "../../util/errors.ts";
import type { Logger } from "../../util/log.ts";
import { type ConfigOption, checkModuleOptions, findConfig, type LoadedConfig, moduleBase } from "../config-option.ts";
import { type FirstAccount, makeDataFolder, makeFirstAccount } from "../first-run.ts";
import { type Generation, readGeneration } from "../generation.ts";
import type { Io } from "../io.ts";
import { keepServer, needsKeeper } from "../keeper.ts";
import { type Log, makeLog } from "../log.ts";
import type { Finish } from "../program.ts";
import { reloader } from "../reloader.ts";
import { restarter } from "../restarter.ts";
import { Systemd } from "../systemd.ts";

const HELP = `
The first start makes what is missing: the data folder, a self-signed certificate for each host without one, and an
account admin@HOST whose password is printed once.

A successor takes the place of the process that was started, which then ends. Where that process must stay, --keeper makes it
a small parent of the server: it passes signals on and ends as the server does. Process 1 of a container always is one.

Signals: SIGTERM or Ctrl-C stops it in order, a second one shortens the time left, a third one skips to the last phase;
SIGUSR2 replaces it by a new process, as morendo restart does; SIGHUP takes in configuration and certificates, as morendo
reload does.

Examples:
  morendo start
  MORENDO_C2S__LISTEN=127.0.0.1:15222 morendo start --config test.toml`;

const SUSPENDED = { reason: "started suspended", trigger: "start --suspended" };

const SIGHUP: Caller = { trigger: "SIGHUP", may: () => true };
/** Nobody waits for the outcome of a signal who could go away. */
const NEVER = new AbortController().signal;

interface StartOptions extends ConfigOption {
  readonly keeper: boolean;
  readonly suspended: boolean;
}

/** Returns the `start` command. */
export function startCommand(io: Io, configOption: () => Option, finish: Finish): Command {
  return new Command("start")
    .description("run the server in the foreground")
    .addOption(configOption())
    .option("--keeper", "let this process stay through restarts, and the server run below it", false)
    .option("--suspended", "come up suspended, in the configured mode: nobody is let in until morendo resume", false)
    .addHelpText("after", HELP)
    .action(async ({ keeper, suspended, ...options }: StartOptions) => {
      if (needsKeeper(process, keeper)) {
        finish(await keepServer(process, io));
        return;
      }
      const generation = readGeneration(process, io.clock);
      try {
        const loaded = findConfig(io, options);
        await checkModuleOptions(loaded, io);
        finish(await runServer(io, { loaded, read: () => findConfig(io, options), generation, suspended }));
      } catch (thrown) {
        await generation.inheritance?.failed(thrown);
        throw thrown;
      }
    });
}

/** How the server is to run. */
interface Run {
  readonly loaded: LoadedConfig;
  /** Reads the configuration anew; throws a ConfigError. */
  read(): LoadedConfig;
  readonly generation: Generation;
  readonly suspended: boolean;
}

async function runServer(io: Io, { loaded, read, generation, suspended }: Run): Promise<number> {
  const { config, file } = loaded;
  await makeDataFolder(config.data);
  const logging = makeLog(config.log, io);
  const { log } = logging;
  const watchdog = new ThreadWatchdog({
    log,
    get graceMs() {
      return server.config.shutdown.watchdog_grace;
    },
    reportFile: join(config.data, WATCHDOG_FILE),
  });
  const { clock, random } = io;
  let lock: DataLock | undefined;
  const { inheritance, listeners: inherited, spawnSuccessor, command } = generation;
  const operations = new Operations({ table: () => operationTable({ server, users, restart, reload }), log });
  const rights = new Rights(config.admin);
  const server: Server = new Server({
    config,
    log,
    clock,
    random,
    watchdog,
    moduleBase: moduleBase(loaded, io),
    inherited,
    alongside: {
      get listening() {
        return http.listening.map((address) => `http ${address}`);
      },
      get passable() {
        return http.passable;
      },
    },
    operations: operations.forModules(rights),
    ...(inheritance === undefined ? {} : { inheritance }),
    // Whether a successor is suspended is its predecessor's to say.
    ...(suspended && inheritance === undefined ? { suspended: SUSPENDED } : {}),
    ...(spawnSuccessor === undefined ? {} : { spawnSuccessor }),
  });
  const systemd = new Systemd({
    environment: io.environment,
    clock,
    log,
    server,
    manager: generation.manager,
    isKept: spawnSuccessor !== undefined,
    get graceMs() {
      return server.config.shutdown.watchdog_grace;
    },
  });
  const reload = reloader({ server, systemd, read });
  const restart = restarter({
    server,
    systemd,
    command,
    controlPath: config.control.socket,
    log,
    replaced: () => {
      http.passOn();
      return control.replaced();
    },
    sweep: async () => await lock?.sweep(),
  });
  const users = new UserAdmin({ accounts: accountsPort(() => server), hosts: config.hosts.map(({ name }) => name) });
  const control = new ControlServer({
    path: config.control.socket,
    operations,
    clock: io.clock,
    log,
  });
  const http = new HttpServer({ config: server.config, server, operations, inherited, clock, random, log });
  // While there is a predecessor, it is the one who answers.
  await (inheritance === undefined ? control.start() : control.prepare());
  try {
    lock = await DataLock.take({ data: config.data, clock, random, log }, { isSuccessor: inheritance !== undefined });
    await (inheritance === undefined ? http.start() : http.prepare());
  } catch (thrown) {
    await lock?.release();
    await control.close(0);
    throw thrown;
  }

  server.alsoReload({ prepare: (next) => logging.prepare(next.log) });
  server.alsoReload({ prepare: (next) => http.prepareReload(next) });
  server.alsoReload({ prepare: (next) => () => rights.replace(next.admin) });

  const tell = (text: string): void => {
    (io.stdout.isTTY === true ? io.stdout : io.stderr).write(`${text}\n`);
  };
  const over = new Promise<DrainReport>((resolve) => server.on("report", resolve));
  measureLoopDelay(server.lifecycle);
  listenToSignals({
    lifecycle: server.lifecycle,
    clock: io.clock,
    log,
    // The operations log how it went.
    reload: async () => {
      await operations.perform("reload", {}, { caller: SIGHUP, emit: () => undefined, signal: NEVER });
    },
    restart: async () => {
      await restart({ reason: "received SIGUSR2", trigger: "SIGUSR2" });
    },
  });
  readProgress(io, server, logging, tell);

  const runs = await server.start();
  // A stop may have been asked for at the very end of a start: until it is over we are the one to ask.
  if (inheritance !== undefined && !server.isSuperfluous) {
    await publish({ control, http }, log);
    void inheritance.predecessorGone().then(() => lock?.sweep());
  }
  if (runs) {
    const { suspension, hosts } = server.status();
    systemd.ready(`serving ${hosts.join(", ")}`);
    if (suspension !== undefined) systemd.suspended(suspension.reason);
    tell(describeStart(server.status(), config, file));
    // Not while nothing is to be written: the next start makes it.
    try {
      const first =
        suspension !== undefined ? undefined : await makeFirstAccount(config.hosts[0]?.name ?? "", users, io.random);
      if (first !== undefined) tell(describeAccount(first));
    } catch (thrown) {
      log.error({ err: asError(thrown) }, "the first account could not be made");
    }
  }
  const report = await over;
  if (report.error !== undefined) tell(`morendo: ${describeFailure(report.error, config)}`);
  // Nothing is in use any more: whoever hears of the end may start the next one.
  await lock?.release();
  // These go last: whoever followed the run has the report by then.
  const hasSuccessor = server.passedTo !== undefined;
  await Promise.all([control.close(undefined, { hasSuccessor }), http.close()]);
  leave({ code: report.exitCode, log });
  return report.exitCode;
}

/** Takes the predecessor's place for operators. Without one the server is hard to reach, but it serves. */
async function publish(
  { control, http }: { readonly control: ControlServer; readonly http: HttpServer },
  log: Logger,
): Promise<void> {
  try {
    await control.publish();
  } catch (thrown) {
    log.error({ err: asError(thrown) }, "the control socket could not be put in its place");
  }
  try {
    await http.publish();
  } catch (thrown) {
    log.error({ err: asError(thrown) }, "HTTP could not be taken over");
  }
}

/** Shows a run on the terminal, or logs it; both when the log goes to a file and somebody watches. */
function readProgress(io: Io, server: Server, logging: Log, tell: (text: string) => void): void {
  const { stdout, clock } = io;
  if (!logging.onTerminal) logProgress(server.lifecycle, logging.log);
  if (stdout.isTTY !== true) {
    for (const over of ["report", "cancelled"] as const) server.on(over, (report) => tell(describeReport(report)));
    return;
  }
  let release: (() => void) | undefined;
  server.on("state", ({ state }) => {
    if (state === "stopping") release = logging.hold();
  });
  for (const over of ["report", "cancelled"] as const) {
    server.on(over, () => {
      release?.();
      release = undefined;
    });
  }
  showProgress({
    lifecycle: server.lifecycle,
    clock,
    write: (text) => stdout.write(text),
    isTerminal: true,
    columns: () => process.stdout.columns || 80,
  });
}

function describeStart(status: ReturnType<Server["status"]>, config: Config, file: string | undefined): string {
  const serves = status.suspension === undefined ? "serves" : "is suspended, until morendo resume, with";
  return [
    `Morendo ${status.version} ${serves} ${status.hosts.join(", ")} (pid ${status.pid})`,
    `  configuration  ${file ?? "built-in defaults"}`,
    `  data           ${config.data}`,
    `  listening      ${status.listening.join(", ")}`,
    `  control        ${config.control.socket}`,
  ].join("\n");
}

function describeAccount({ jid, password }: FirstAccount): string {
  return `There was no account yet; this one was made. Its password is shown this once:\n  JID       ${jid}\n  password  ${password}`;
}

/** Names the option that an address which cannot be listened on comes from. */
function describeFailure(error: string, { c2s, s2s }: Config): string {
  const message = (error.split("\n", 1)[0] ?? "").replace(/^\w*Error(?: \[\w+\])?: /, "");
  const lists: readonly (readonly [string, readonly string[]])[] = [
    ["c2s.listen", c2s.listen],
    ["c2s.listen_tls", c2s.listen_tls],
    ["s2s.listen", s2s.listen],
  ];
  if (message.includes("option ")) return message;
  const named = lists.find(([, addresses]) => addresses.some((address) => message.includes(address)));
  return named === undefined ? message : `${message}; the option is ${named[0]}`;
}
