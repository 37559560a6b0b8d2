// `morendo stop`: asks the running server to go down, shows how it gets on and ends as it does.

import { Command, type Option } from "commander";
import { connectControl } from "../../control/control-client.ts";
import { exitCode } from "../../shutdown/exit-codes.ts";
import type { DrainReport } from "../../shutdown/report.ts";
import { describeReport } from "../../shutdown/report-text.ts";
import { codeOf } from "../../util/errors.ts";
import { type ConfigOption, findServer } from "../config-option.ts";
import { interruptible } from "../interruption.ts";
import { type Io, say, warn } from "../io.ts";
import { liveView } from "../live-view.ts";
import type { Finish } from "../program.ts";
import { readDuration, type ScheduleOptions, scheduleArguments } from "../schedule-options.ts";

interface StopOptions extends ConfigOption, ScheduleOptions {
  readonly reason?: string;
  readonly deadline?: number;
  readonly follow: boolean;
  readonly wait: boolean;
  readonly json: boolean;
}

const HELP = `
With --delay everything is served for that long before anything is closed; with --announce users are told, again as the end
comes near, and whoever logs in meanwhile too. The delay ends early when nobody is left. morendo cancel takes it all back; a
second stop without a delay, or with a shorter one, brings it forward.

It waits for the end and shows the phases on standard error: a picture that is redrawn on a terminal, lines elsewhere. Ctrl-C
ends this command and not the stop.
--json prints the drain report at the end and nothing else; --json --follow one JSON object per line: the events state, phase
and progress as {"event":...,"data":...}, and last {"event":"result","data":REPORT}.

The exit code is that of the server's run: see the table of exit codes in docs/OPERATORS.md. It is 1 when the stop was
cancelled (morendo cancel) and the server runs on.

Examples:
  morendo stop
  morendo stop --reason "moving to a new machine" --deadline 1m
  morendo stop --delay 5m --announce "Moving house" --no-wait`;

const INTERRUPTED =
  "the stop goes on without this command: morendo watch follows it, morendo cancel brings the server back before sessions are closed";

/** Returns the `stop` command. */
export function stopCommand(io: Io, configOption: () => Option, finish: Finish): Command {
  return new Command("stop")
    .description("stop the server, show its progress and report the outcome")
    .option("--reason <text>", "shown to clients, logged and reported")
    .option("--delay <duration>", "go on serving for this long before; as configured unless given", readDuration)
    .option("--announce <text>", "tell users meanwhile that the server will go down")
    .option("--deadline <duration>", "replaces the configured deadline for this run", readDuration)
    .option("--follow", "with --json: each event as a line", false)
    .option("--no-wait", "return at once")
    .option("--json", "print the drain report as JSON", false)
    .addOption(configOption())
    .addHelpText("after", HELP)
    .action(async (options: StopOptions) => finish(await stop(io, options)));
}

async function stop(io: Io, given: StopOptions): Promise<number> {
  const { reason, deadline, json, follow, wait, delay, announce, ...options } = given;
  const { control } = findServer(io, options);
  const client = await connectControl({ path: control.socket, clock: io.clock });
  const view = liveView({ io, shown: !json ? "people" : follow ? "lines" : "nothing", to: io.stderr });
  try {
    const args = {
      follow: wait,
      ...(reason === undefined ? {} : { reason }),
      ...(deadline === undefined ? {} : { budgetMs: deadline }),
      ...scheduleArguments(given),
    };
    const result = await interruptible(io, INTERRUPTED, client.request("stop", args, view.onEvent));
    if (!wait) {
      say(io, json ? JSON.stringify(result) : "asked for: morendo watch shows how it gets on");
      return 0;
    }
    const report = result as DrainReport;
    if (!view.answered(report)) say(io, json ? JSON.stringify(report, undefined, 2) : describeReport(report));
    // The server runs on, so this command has not done what it was asked for.
    return report.outcome === "cancelled" ? exitCode("fatal") : report.exitCode;
  } catch (thrown) {
    if (codeOf(thrown) !== "MORENDO_CONTROL_LOST") throw thrown;
    warn(
      io,
      "\nmorendo: the server was gone before it could report: killed, most likely by its watchdog (see its log, and morendo report)",
    );
    return exitCode("watchdog");
  } finally {
    client.close();
  }
}
