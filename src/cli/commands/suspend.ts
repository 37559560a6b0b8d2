// `morendo suspend` and `morendo resume`: bring the running server to stand still, and on again.

import { Command, InvalidArgumentError, Option } from "commander";
import { connectControl } from "../../control/control-client.ts";
import { exitCode } from "../../shutdown/exit-codes.ts";
import type { PhaseProgress } from "../../shutdown/phase-progress.ts";
import type { ResumeResult, SuspendReport } from "../../shutdown/suspend-types.ts";
import { formatDuration, parseDuration } from "../../util/units.ts";
import { type ConfigOption, findConfig } from "../config-option.ts";
import { type Io, say, warn } from "../io.ts";
import type { Finish } from "../program.ts";

interface SuspendOptions extends ConfigOption {
  readonly mode?: string;
  readonly timeout?: number;
  readonly onTimeout?: string;
  readonly reason?: string;
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

The exit code is 0 when the server is suspended, 4 when it is although somebody was not done in time (--on-timeout stay), and
1 when it is not: refused, called off, or taken back because somebody was late.

Examples:
  morendo suspend && cp -a data /backup/ && morendo resume
  morendo suspend --mode refuse --reason "moving to xmpp2.example.org"`;

const RESUME_HELP = `
The exit code is 0 when the server goes on, and 1 when it was not suspended or a part of it could not go on; the message says
which.`;

/** Returns the `suspend` command. */
export function suspendCommand(io: Io, configOption: () => Option, finish: Finish): Command {
  return new Command("suspend")
    .description("let the server stand still, with its connections up")
    .addOption(new Option("--mode <mode>", "how; as configured unless given").choices(["hold", "refuse"]))
    .option("--timeout <duration>", "how long it may take", readDuration)
    .addOption(new Option("--on-timeout <what>", "what becomes of it when somebody is late").choices(["back", "stay"]))
    .option("--reason <text>", "logged, and shown to whoever is refused")
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

function readDuration(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined || ms < 1) throw new InvalidArgumentError('expected a duration such as "30s"');
  return ms;
}

async function suspend(
  io: Io,
  { mode, timeout, onTimeout, reason, json, ...options }: SuspendOptions,
): Promise<number> {
  const { config } = findConfig(io, options);
  const client = await connectControl({ path: config.control.socket, clock: io.clock });
  try {
    const args = {
      follow: true,
      ...(mode === undefined ? {} : { mode }),
      ...(timeout === undefined ? {} : { timeoutMs: timeout }),
      ...(onTimeout === undefined ? {} : { onTimeout }),
      ...(reason === undefined ? {} : { reason }),
    };
    const report = (await client.request("suspend", args, (event, data) => {
      if (event === "progress" && !json) showProgress(io, data as PhaseProgress);
    })) as SuspendReport;
    if (!json && io.stderr.isTTY === true) io.stderr.write("\r\u001b[K");
    if (json) say(io, JSON.stringify(report, undefined, 2));
    else if (report.suspended) say(io, describeSuspended(report));
    else warn(io, `morendo: not suspended: ${report.why ?? report.outcome}`);
    if (!report.suspended) return exitCode("fatal");
    return report.late.length === 0 ? 0 : exitCode("incomplete");
  } finally {
    client.close();
  }
}

function describeSuspended({ mode, durationMs, late }: SuspendReport): string {
  const first = `suspended in mode ${mode}, in ${formatDuration(durationMs)}`;
  return late.length === 0 ? first : `${first}; not done in time: ${late.join(", ")}`;
}

/** Whom is being waited for: a line that is written over, on a terminal only. */
function showProgress({ stderr }: Io, { phase, blockers, remainingMs }: PhaseProgress): void {
  if (stderr.isTTY !== true) return;
  const text = `${phase}: waiting for ${blockers.slice(0, 3).join(", ")}, ${formatDuration(remainingMs)} left`;
  stderr.write(`\r${text.slice(0, 100)}\u001b[K`);
}

async function resume(io: Io, { reason, ...options }: ResumeOptions): Promise<number> {
  const { config } = findConfig(io, options);
  const client = await connectControl({ path: config.control.socket, clock: io.clock, timeoutMs: RESUME_TIMEOUT_MS });
  try {
    const result = (await client.request("resume", reason === undefined ? {} : { reason })) as ResumeResult;
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
  } finally {
    client.close();
  }
}
