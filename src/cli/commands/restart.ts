// `morendo restart`: lets the running server hand itself over to a new process, and says how that went.

import { Command, type Option } from "commander";
import { connectControl, type EventListener } from "../../control/control-client.ts";
import type { HandoverStep } from "../../handover/predecessor.ts";
import type { RestartResult } from "../../operations/restart-result.ts";
import { exitCode } from "../../shutdown/exit-codes.ts";
import { codeOf } from "../../util/errors.ts";
import { formatDuration } from "../../util/units.ts";
import { type ConfigOption, findConfig } from "../config-option.ts";
import { interruptible } from "../interruption.ts";
import { type Io, say, warn } from "../io.ts";
import { liveView } from "../live-view.ts";
import type { Finish } from "../program.ts";

interface RestartOptions extends ConfigOption {
  readonly reason?: string;
  readonly announce?: string;
  readonly follow: boolean;
  readonly json: boolean;
}

const HELP = `
A new process is started with the same command line, reads the configuration anew and takes over the listening sockets
and the sessions of clients with stream management (XEP-0198), which resume there. Until it serves the old process serves as
before; if the new one fails, the old one goes on, and this command says why. The exit code is 0 when the new process
serves, and 1 when the old one goes on.

After "--" another program can be named, with all its arguments; it must be a Morendo that starts. A program that was
started through a symlink needs no name: the same path is taken again, and so the version that it leads to now.

Examples:
  morendo restart
  morendo restart --reason "new certificate"
  morendo restart -- /opt/morendo-2/bin/morendo start --config /etc/morendo/morendo.toml`;

const INTERRUPTED = "the restart goes on without this command: morendo status tells which process serves";

/** What people read as each step begins. */
const STEPS: Readonly<Record<HandoverStep, string>> = {
  spawn: "a new process is started",
  hello: "it starts up; the old one serves as before",
  freeze: "the old process stands still",
  state: "it hands over its sessions",
  prepared: "the new process takes them in",
  serving: "the new process begins to serve",
};

/** Returns the `restart` command. */
export function restartCommand(io: Io, configOption: () => Option, finish: Finish): Command {
  return new Command("restart")
    .description("replace the running server by a new process, without a gap")
    .option("--reason <text>", "shown to clients that cannot resume, logged and reported")
    .option("--announce <text>", "tell everybody who is online first")
    .argument("[program...]", "another program and its arguments, after --")
    .option("--follow", "with --json: each step as a line", false)
    .option("--json", "print the outcome as JSON", false)
    .addOption(configOption())
    .addHelpText("after", HELP)
    .action(async (program: string[], options: RestartOptions) => finish(await restart(io, program, options)));
}

async function restart(
  io: Io,
  program: readonly string[],
  { reason, announce, follow, json, ...options }: RestartOptions,
): Promise<number> {
  const { config } = findConfig(io, options);
  const client = await connectControl({ path: config.control.socket, clock: io.clock });
  try {
    const args = {
      ...(reason === undefined ? {} : { reason }),
      ...(announce === undefined ? {} : { announcement: announce }),
      ...(program.length === 0 ? {} : { program }),
    };
    const view = liveView({ io, shown: !json ? "people" : follow ? "lines" : "nothing", to: io.stderr });
    const onEvent: EventListener = (event, data) => view.onEvent(event, json ? data : described(event, data));
    const work = client.request("restart", args, onEvent);
    const result = (await interruptible(io, INTERRUPTED, work)) as RestartResult;
    if (view.answered(result)) return result.restarted ? 0 : exitCode("fatal");
    if (json) say(io, JSON.stringify(result, undefined, 2));
    else describe(io, result);
    return result.restarted ? 0 : exitCode("fatal");
  } catch (thrown) {
    if (codeOf(thrown) !== "MORENDO_CONTROL_LOST") throw thrown;
    warn(io, "morendo: the server was gone before it could say how the restart went: see its log, and morendo status");
    return exitCode("fatal");
  } finally {
    client.close();
  }
}

/** Another version of the server may have steps that are not known here. */
function described(event: string, data: unknown): unknown {
  return event === "step" && typeof data === "string" && Object.hasOwn(STEPS, data)
    ? STEPS[data as HandoverStep]
    : data;
}

function describe(io: Io, result: RestartResult): void {
  if (result.restarted) {
    const { predecessor, pid, durationMs, frozenMs } = result;
    const times = `it took ${formatDuration(durationMs)}; nobody served for ${formatDuration(frozenMs)}`;
    say(io, `restarted: process ${pid} serves in place of ${predecessor}; ${times}`);
    return;
  }
  const { pid, step, why, stderrTail } = result;
  warn(io, `morendo: not restarted, process ${pid} goes on: ${why}${step === "refused" ? "" : ` (step ${step})`}`);
  if (stderrTail.trim() !== "") warn(io, `the new process wrote:\n${stderrTail.trim().replace(/^/gm, "  ")}`);
}
