// `morendo stop`: asks the running server to go down, shows how it gets on and ends as it does.

import { Command, InvalidArgumentError, type Option } from "commander";
import { connectControl } from "../../control/control-client.ts";
import { exitCode } from "../../shutdown/exit-codes.ts";
import type { PhaseProgress } from "../../shutdown/phase-progress.ts";
import { type DrainReport, describeReport } from "../../shutdown/report.ts";
import { codeOf } from "../../util/errors.ts";
import { formatDuration, parseDuration } from "../../util/units.ts";
import { type ConfigOption, findConfig } from "../config-option.ts";
import { type Io, say, warn } from "../io.ts";
import type { Finish } from "../program.ts";

interface StopOptions extends ConfigOption {
  readonly reason?: string;
  readonly deadline?: number;
  readonly json: boolean;
}

const HELP = `
The exit code is that of the server's run: see the table of exit codes in docs/OPERATORS.md. It is 1 when the stop was
cancelled (morendo cancel) and the server runs on.

Examples:
  morendo stop
  morendo stop --reason "moving to a new machine" --deadline 1m`;

/** Returns the `stop` command. */
export function stopCommand(io: Io, configOption: () => Option, finish: Finish): Command {
  return new Command("stop")
    .description("stop the server, show its progress and report the outcome")
    .option("--reason <text>", "shown to clients, logged and reported")
    .option("--deadline <duration>", "replaces the configured deadline for this run", readDeadline)
    .option("--json", "print the drain report as JSON", false)
    .addOption(configOption())
    .addHelpText("after", HELP)
    .action(async (options: StopOptions) => finish(await stop(io, options)));
}

function readDeadline(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined) throw new InvalidArgumentError('expected a duration such as "30s"');
  return ms;
}

async function stop(io: Io, { reason, deadline, json, ...options }: StopOptions): Promise<number> {
  const { config } = findConfig(io, options);
  const client = await connectControl({ path: config.control.socket, clock: io.clock });
  try {
    const args = {
      follow: true,
      ...(reason === undefined ? {} : { reason }),
      ...(deadline === undefined ? {} : { budgetMs: deadline }),
    };
    const show = progressWriter(io);
    const report = (await client.request("stop", args, (event, data) => {
      if (event === "progress" && !json) show(data as PhaseProgress);
    })) as DrainReport;
    if (io.stderr.isTTY === true) io.stderr.write("\r\u001b[K");
    say(io, json ? JSON.stringify(report, undefined, 2) : describeReport(report));
    // The server runs on, so this command has not done what it was asked for.
    return report.outcome === "cancelled" ? exitCode("fatal") : report.exitCode;
  } catch (thrown) {
    if (codeOf(thrown) !== "MORENDO_CONTROL_LOST") throw thrown;
    warn(
      io,
      "\nmorendo: the server was gone before it could report: killed, most likely by its watchdog (see its log)",
    );
    return exitCode("watchdog");
  } finally {
    client.close();
  }
}

/** Shows progress: one line that is written over on a terminal, a line for each phase otherwise. */
function progressWriter({ stderr }: Io): (progress: PhaseProgress) => void {
  let shown = "";
  return ({ phase, step, steps, done, total, blockers, remainingMs }) => {
    if (stderr.isTTY !== true) {
      if (phase !== shown) stderr.write(`[${step}/${steps}] ${phase}\n`);
      shown = phase;
      return;
    }
    const waiting = blockers.length === 0 ? "" : `, waiting for ${blockers.slice(0, 3).join(", ")}`;
    const text = `[${step}/${steps}] ${phase} ${done}/${total}, ${formatDuration(remainingMs)} left${waiting}`;
    stderr.write(`\r${text.slice(0, 100)}\u001b[K`);
  };
}
