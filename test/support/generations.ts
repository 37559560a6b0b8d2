// A line of real Morendo processes, each the successor of the one before: their folder, configuration and program, which a
// test changes before a restart; `morendo restart` as an operator calls it; and what there is of them at any time. Ends all of them.

import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connectControl } from "../../src/control/control-client.ts";
import type { ServerStatus } from "../../src/server/server.ts";
import type { DrainReport } from "../../src/shutdown/report.ts";
import { RawClient, type RawClientOptions } from "../../src/testing/raw-client.ts";
import { systemClock } from "../../src/util/clock.ts";
import { PASSWORD } from "./accounts.ts";
import { freeAddress, PORTS } from "./addresses.ts";
import { ServerProcess, sleep, temporaryFolder } from "./child.ts";
import { readDrainReport } from "./morendo.ts";
import { LOADER, MAIN, runnable } from "./program.ts";
import { commandIn, type Said } from "./run-command.ts";

const FAULTS = runnable(new URL("faulty-program.ts", import.meta.url));
const MODULE = runnable(new URL("test-modules/faulty-handover/index.ts", import.meta.url));

/** What may be different about the configuration. */
export interface Settings {
  readonly hosts?: readonly string[];
  /** What the module `faulty-handover` does. */
  readonly module?: string;
  /** Text added at the beginning, before the first table, and at the end. */
  readonly top?: string;
  readonly extra?: string;
  /** Text added to the options of `[c2s]`. */
  readonly c2s?: string;
  /** Text added to the options of `[s2s]`. */
  readonly s2s?: string;
  /** Further modules. */
  readonly modules?: readonly string[];
  /** Further addresses to listen on for clients. */
  readonly listen?: readonly string[];
  readonly timeout?: string;
}

export interface GenerationsOptions {
  readonly settings?: Settings;
  /** Accounts as `morendo user import` takes them. */
  readonly accounts?: readonly object[];
  /** What is run, given how Node is to be called and the address to listen on. */
  readonly command?: (program: readonly string[], address: string) => readonly [string, ...string[]];
  readonly env?: NodeJS.ProcessEnv;
  /** What the first program does before it starts the server. */
  readonly program?: string;
  /** Arguments of `morendo start`. */
  readonly args?: readonly string[];
}

/** A line of processes. The members are about whichever of them serves. */
export class Generations {
  readonly folder: string;
  readonly address: string;
  /** The first process. */
  readonly process: ServerProcess;
  #options: GenerationsOptions;

  private constructor(folder: string, address: string, process: ServerProcess, options: GenerationsOptions) {
    this.folder = folder;
    this.address = address;
    this.process = process;
    this.#options = options;
  }

  /** Starts the first one and waits until it serves. */
  static async start(options: GenerationsOptions = {}): Promise<Generations> {
    const { folder, address } = await prepare(options);
    const generations = new Generations(folder, address, launch(folder, address, options), options);
    await generations.until((status) => status?.state === "running");
    return generations;
  }

  /** Starts the first one and waits for nothing. */
  static async launch(options: GenerationsOptions): Promise<Generations> {
    const { folder, address } = await prepare(options);
    return new Generations(folder, address, launch(folder, address, options), options);
  }

  /** Starts one more process in the folder of a line whose last one has ended; waits for nothing. */
  static again({ folder, address }: Generations): ServerProcess {
    return launch(folder, address, {});
  }

  /** Writes the configuration for the next process. */
  configure(settings: Settings = this.#options.settings ?? {}): void {
    writeConfiguration(this.folder, this.address, settings);
  }

  /** Writes the program for the next process: the real one, with `before` run first. */
  program(before = ""): void {
    writeFileSync(join(this.folder, "program.mjs"), programText(before));
  }

  /** The report of the last run, if there is one. */
  report(): DrainReport | undefined {
    return readDrainReport(this.folder);
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** `morendo ARGS`, to its end. */
  command(...args: readonly string[]): Promise<Said> {
    return commandIn(this.folder, args);
  }

  /** `morendo restart`, by somebody whose own configuration is in order whatever the server's is like. */
  restart(): Promise<Said> {
    return this.command("restart", "--reason", "a test", "--config", join(this.folder, "operator.toml"));
  }

  /** What the one that answers at the control socket says of itself; undefined when none does. */
  async status(): Promise<ServerStatus | undefined> {
    try {
      const client = await connectControl({
        path: join(this.folder, "data/control.sock"),
        clock: systemClock,
        timeoutMs: 5_000,
      });
      try {
        return (await client.request("status")) as ServerStatus;
      } finally {
        client.close();
      }
    } catch {
      return undefined;
    }
  }

  /** Waits until the status is as it should be; throws with the log when that takes more than a minute. */
  async until(condition: (status: ServerStatus | undefined) => boolean): Promise<ServerStatus | undefined> {
    const limit = performance.now() + 60_000;
    for (;;) {
      const status = await this.status();
      if (condition(status)) return status;
      if (performance.now() > limit)
        throw new Error(`never so: ${condition.toString()}\n${this.process.log.slice(-4_000)}`);
      await sleep(20);
    }
  }

  /** The processes with this folder's configuration on their command line, whatever they are. */
  get pids(): readonly number[] {
    return processesWith(join(this.folder, "morendo.toml"));
  }

  /** Waits until these are the only processes there are. */
  async alone(...pids: readonly number[]): Promise<void> {
    const wanted = pids.toSorted((one, other) => one - other).join();
    const limit = performance.now() + 40_000;
    while (this.pids.join() !== wanted) {
      if (performance.now() > limit)
        throw new Error(`processes ${this.pids.join()}, not only ${wanted}\n${this.process.log.slice(-4_000)}`);
      await sleep(20);
    }
  }

  /** The files in the folder, without the store's; the locks of processes have names of their own each. */
  get files(): readonly string[] {
    const all = readdirSync(this.folder, { recursive: true, encoding: "utf8" });
    return all
      .filter((name) => !name.startsWith("data/store/"))
      .map((name) => name.replace(/^data\/locks\/.*/, "data/locks/*"))
      .sort();
  }

  /** Fails unless the files are these, soon: what a killed process has left is removed when its end has been noticed. */
  async haveFiles(expected: readonly string[], told: string): Promise<void> {
    const limit = performance.now() + 20_000;
    while (this.files.join() !== expected.join() && performance.now() < limit) await sleep(20);
    assert.deepEqual(this.files, expected, told);
  }

  /** Makes a client of `a.test` unless told otherwise. */
  client(options: Partial<RawClientOptions> = {}): RawClient {
    return new RawClient({
      host: this.address,
      port: PORTS.c2sTls,
      domain: "a.test",
      password: PASSWORD,
      security: "direct",
      mechanism: "PLAIN",
      ...options,
    });
  }

  /** Starts the program once more, after every process has ended, and waits until it serves. */
  async startAgain(): Promise<void> {
    await this.alone();
    launch(this.folder, this.address, this.#options);
    await this.until((status) => status?.state === "running");
  }

  /** Ends every process and removes the folder. */
  async end(): Promise<void> {
    for (const pid of this.pids) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It has ended meanwhile.
      }
    }
    await this.process.stop();
  }
}

/** Writes what the first process needs. */
async function prepare({ settings, program, accounts = [] }: GenerationsOptions): Promise<{
  readonly folder: string;
  readonly address: string;
}> {
  const folder = temporaryFolder("generations");
  const address = await freeAddress();
  mkdirSync(join(folder, "data"));
  writeFileSync(join(folder, "program.mjs"), programText(program));
  writeFileSync(join(folder, "operator.toml"), 'data = "data"\n');
  writeConfiguration(folder, address, settings);
  if (accounts.length > 0) {
    const lines = accounts.map((account) => JSON.stringify({ password: PASSWORD, ...account }));
    const { code, output } = await commandIn(folder, ["user", "import"], lines.join("\n"));
    if (code !== 0) throw new Error(output);
  }
  return { folder, address };
}

/** The text of a program: `fault(…)`, say, and then the real one. */
function programText(before = ""): string {
  return `import { fault } from ${JSON.stringify(FAULTS)};\n${before}\nawait import(${JSON.stringify(MAIN)});\n`;
}

function launch(
  folder: string,
  address: string,
  { command = (program) => [process.execPath, ...program], ...options }: GenerationsOptions,
): ServerProcess {
  const program = [...LOADER, join(folder, "program.mjs")];
  const args = ["start", "--config", join(folder, "morendo.toml"), ...(options.args ?? [])];
  return new ServerProcess("morendo", folder, command([...program, ...args], address), { env: options.env ?? {} });
}

function writeConfiguration(
  folder: string,
  address: string,
  {
    hosts = ["a.test", "b.test"],
    module,
    top = "",
    extra = "",
    c2s = "",
    s2s = "",
    modules = [],
    listen = [],
    timeout = "1m",
  }: Settings = {},
): void {
  const list = ["roster", "presence", "offline", "disco", "ping", MODULE, ...modules];
  const places = [`${address}:${PORTS.c2s}`, ...listen];
  writeFileSync(
    join(folder, "morendo.toml"),
    `data = "data"
modules = ${JSON.stringify(list)}
${top}
${hosts.map((name) => `[[hosts]]\nname = ${JSON.stringify(name)}`).join("\n")}
[c2s]
listen = ${JSON.stringify(places)}
listen_tls = ["${address}:${PORTS.c2sTls}"]
${c2s}
[s2s]
listen = ["${address}:${PORTS.s2s}"]
${s2s}
[restart]
timeout = "${timeout}"
${module === undefined ? "" : `[module.faulty-handover]\nhow = "${module}"`}
${extra}
`,
  );
}

/** The processes of this machine whose command line has `text`; those that have ended and were not waited for are left out. */
export function processesWith(text: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .sort((one, other) => one - other)
    .filter((pid) => readCommandLine(pid).includes(text));
}

function readCommandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return "";
  }
}

/** Where the public side of the handover is. */
export const HANDOVER = runnable(new URL("../../src/handover/index.ts", import.meta.url));
