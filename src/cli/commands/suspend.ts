// `morendo suspend` and `morendo resume`: bring the running server to stand still, and on again.

import { Command, Option } from "commander";
import { connectControl } from "../../control/control-client.ts";
import { exitCode } from "../../shutdown/exit-codes.ts";
import type { ResumeResult, SuspendReport } from "../../shutdown/suspend-types.ts";
import { formatDuration } from "../../util/units.ts";
import { askServer } from "../ask-server.ts";
import { type ConfigOption, findServer } from "../config-option.ts";
import { interruptible } from "../interruption.ts";
import { type Io, say, warn } from "../io.ts";
import { liveView } from "../live-view.ts";
import type { Finish } from "../program.ts";
import { readTimeLimit } from "../schedule-options.ts";

interface SuspendOptions extends ConfigOption {
  readonly mode?: string;
  readonly timeout?: number;
  readonly onTimeout?: string;
  readonly reason?: string;
  readonly follow: boolean;
  readonly json: boolean;
}

interface ResumeOptions extends ConfigOption {
  readonly reason?: string;
}

/** Going on is bounded by the server; this is well past it. */
const RESUME_TIMEOUT_MS = 120_000;

const SUSPEND_HELP = `
hold: connections stay up, nothing is read from them, new ones wait, nothing is written any more: the data folder can be
copied. refuse: sessions go on, nobody else may log in. morendo resume ends both; a stop and a restart are possible meanwhile.

--json prints the record; --json --follow first the events state and progress, one JSON object per line.

The exit code is 0 when the server is suspended, 4 when it is although somebody was not done in time (--on-timeout stay), and
1 when it is not: refused, called off, or taken back because somebody was late.

Examples:
  morendo suspend && cp -a data /backup/ && morendo resume
  morendo suspend --mode refuse --reason "moving to xmpp2.example.org"`;

const RESUME_HELP = `
The exit code is 0 when the server goes on, and 1 when it was not suspended or a part of it could not go on; the message says
which.`;

const INTERRUPTED =
  "suspending goes on without this command: morendo status tells how it is, morendo resume takes it back";

/** Returns the `suspend` command. */
export function suspendCommand(io: Io, configOption: () => Option, finish: Finish): Command {
  return new Command("suspend")
    .description("let the server stand still, with its connections up")
    .addOption(new Option("--mode <mode>", "how; as configured unless given").choices(["hold", "refuse"]))
    .option("--timeout <duration>", "how long it may take", readTimeLimit)
    .addOption(new Option("--on-timeout <what>", "what becomes of it when somebody is late").choices(["back", "stay"]))
    .option("--reason <text>", "logged, and shown to whoever is refused")
    .option("--follow", "with --json: each event as a line", false)
    .option("--json", "print the record as JSON", false)
    .addOption(configOption())
    .addHelpText("after", SUSPEND_HELP)
    .action(async (options: SuspendOptions) => finish(await suspend(io, options)));
}

/** Returns the `resume` command. */
export function resumeCommand(io: Io, configOption: () => Option, finish: Finish): Command {
  return new Command("resume")
    .description("let the server go on after morendo suspend or a start with --suspended")
    .option("--reason <text>", "logged")
    .addOption(configOption())
    .addHelpText("after", RESUME_HELP)
    .action(async (options: ResumeOptions) => finish(await resume(io, options)));
}

async function suspend(
  io: Io,
  { mode, timeout, onTimeout, reason, follow, json, ...options }: SuspendOptions,
): Promise<number> {
  const { control } = findServer(io, options);
  const client = await connectControl({ path: control.socket, clock: io.clock });
  try {
    const args = {
      follow: true,
      ...(mode === undefined ? {} : { mode }),
      ...(timeout === undefined ? {} : { timeoutMs: timeout }),
      ...(onTimeout === undefined ? {} : { onTimeout }),
      ...(reason === undefined ? {} : { reason }),
    };
    const view = liveView({ io, shown: !json ? "people" : follow ? "lines" : "nothing", to: io.stderr });
    const work = client.request("suspend", args, view.onEvent);
    const report = (await interruptible(io, INTERRUPTED, work)) as SuspendReport;
    if (view.answered(report)) return suspendedCode(report);
    if (json) say(io, JSON.stringify(report, undefined, 2));
    else if (report.suspended) say(io, describeSuspended(report));
    else warn(io, `morendo: not suspended: ${report.why ?? report.outcome}`);
    return suspendedCode(report);
  } finally {
    client.close();
  }
}

function suspendedCode({ suspended, late }: SuspendReport): number {
  if (!suspended) return exitCode("fatal");
  return late.length === 0 ? 0 : exitCode("incomplete");
}

function describeSuspended({ mode, durationMs, late }: SuspendReport): string {
  const first = `suspended in mode ${mode}, in ${formatDuration(durationMs)}`;
  return late.length === 0 ? first : `${first}; not done in time: ${late.join(", ")}`;
}

async function resume(io: Io, { reason, ...options }: ResumeOptions): Promise<number> {
  const question = { operation: "resume", args: reason === undefined ? {} : { reason }, timeoutMs: RESUME_TIMEOUT_MS };
  const result = (await askServer(io, options, question)) as ResumeResult;
  if (!result.resumed) {
    warn(io, `morendo: not resumed: ${result.why}`);
    return exitCode("fatal");
  }
  for (const { name, error } of result.failed) {
    warn(io, `morendo: ${name} could not go on: ${error.split("\n", 1)[0]}`);
  }
  if (result.failed.length > 0) return exitCode("fatal");
  say(io, "resumed: the server serves as before");
  return 0;
}
