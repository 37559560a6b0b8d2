// `morendo report`: how the last run of the pipeline ended, or an earlier one. Reads the data folder, so that it works
// whether a server runs or not.

import { join } from "node:path";
import { Command, InvalidArgumentError, type Option } from "commander";
import { exitCode } from "../../shutdown/exit-codes.ts";
import type { DrainReport } from "../../shutdown/report.ts";
import { listReports, readReport } from "../../shutdown/report-file.ts";
import { describeReport } from "../../shutdown/report-text.ts";
import { describeKill, killedSince } from "../../shutdown/watchdog-report.ts";
import { formatDuration } from "../../util/units.ts";
import { type ConfigOption, findServer } from "../config-option.ts";
import { type Io, say, warn } from "../io.ts";
import type { Finish } from "../program.ts";

interface ReportOptions extends ConfigOption {
  readonly json: boolean;
  readonly list: boolean;
}

const HELP = `
N counts back: 1 is the last one. A run that the watchdog killed left no report of its own; what the watchdog has written
is shown in its place. The exit code is 0 when there is something to show, and 1 when not;
a list may be empty.

Examples:
  morendo report
  morendo report --list
  morendo report --json 3`;

/** Returns the `report` command. */
export function reportCommand(io: Io, configOption: () => Option, finish: Finish): Command {
  return new Command("report")
    .description("say how the last stop, restart or cancelled stop went; works without a server")
    .argument("[number]", "an earlier one", readNumber, 1)
    .option("--list", "one line for each that is kept", false)
    .option("--json", "print it as JSON", false)
    .addOption(configOption())
    .addHelpText("after", HELP)
    .action((number: number, options: ReportOptions) => finish(report(io, number, options)));
}

function readNumber(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1) throw new InvalidArgumentError("expected a number from 1 on");
  return number;
}

function report(io: Io, number: number, { json, list, ...options }: ReportOptions): number {
  const { data: dir } = findServer(io, options);
  const files = listReports(dir);
  if (list) return showList(io, dir, files, json);
  const last = files[0] === undefined ? undefined : readReport(join(dir, files[0]));
  const killed = number === 1 ? killedSince(dir, last) : undefined;
  if (killed !== undefined) {
    say(io, json ? JSON.stringify({ watchdog: killed }, undefined, 2) : describeKill(killed));
    return 0;
  }
  const file = files[number - 1];
  const found = file === undefined ? undefined : readReport(join(dir, file));
  if (found === undefined) {
    const kept = files.length === 1 ? "1 is kept" : `${files.length} are kept`;
    warn(io, `morendo: there is ${files.length === 0 ? `no report in ${dir}` : `no such report in ${dir}: ${kept}`}`);
    return exitCode("fatal");
  }
  say(io, json ? JSON.stringify(found, undefined, 2) : `${describeTime(found)}\n${describeReport(found)}`);
  return 0;
}

function describeTime({ startedAt, durationMs }: DrainReport): string {
  const when = startedAt.replace("T", " ").replace(/\.\d+Z$/, " UTC");
  return `This run began at ${when} and took ${formatDuration(durationMs)}.`;
}

function showList(io: Io, dir: string, files: readonly string[], json: boolean): number {
  const reports = files.flatMap((file): DrainReport[] => {
    const found = readReport(join(dir, file));
    return found === undefined ? [] : [found];
  });
  const killed = killedSince(dir, reports[0]);
  if (json) {
    const listed = reports.map(({ id, startedAt, cause, trigger, reason, outcome, exitCode: code, durationMs }) => {
      return { id, startedAt, cause, trigger, reason, outcome, exitCode: code, durationMs };
    });
    say(io, JSON.stringify(killed === undefined ? listed : [{ watchdog: killed }, ...listed], undefined, 2));
    return 0;
  }
  if (killed !== undefined) say(io, `   ${describeKill(killed).split("\n", 1)[0]}`);
  for (const [index, one] of reports.entries()) {
    const [first = ""] = describeReport(one).split("\n", 1);
    say(io, `${String(index + 1).padStart(2)} ${one.startedAt} ${first}`);
  }
  if (reports.length === 0 && killed === undefined) say(io, `there are no reports in ${dir}`);
  return 0;
}
