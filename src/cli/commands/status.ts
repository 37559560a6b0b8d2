// `morendo status`: what the running server says of itself.

import { Command, type Option } from "commander";
import type { ServerStatus } from "../../server/server.ts";
import { readLastReport } from "../../shutdown/report-file.ts";
import { describeKill, killedSince } from "../../shutdown/watchdog-report.ts";
import { codeOf } from "../../util/errors.ts";
import { formatDuration } from "../../util/units.ts";
import { askServer } from "../ask-server.ts";
import { type ConfigOption, findServer } from "../config-option.ts";
import { type Io, say, warn } from "../io.ts";
import type { Finish } from "../program.ts";

const TIMEOUT_MS = 10_000;

/** Returns the `status` command. */
export function statusCommand(io: Io, configOption: () => Option, finish: Finish): Command {
  return new Command("status")
    .description("say whether the server runs and how it is (exit code 1 when it does not run)")
    .addOption(configOption())
    .option("--json", "print the whole status as JSON", false)
    .action(async (options: ConfigOption & { readonly json: boolean }) => {
      const server = findServer(io, options);
      tellOfKill(io, server.data);
      const answer = await askServer(io, options, { operation: "status", timeoutMs: TIMEOUT_MS, server });
      const status = answer as ServerStatus;
      say(io, options.json ? JSON.stringify(status, undefined, 2) : describeStatus(status, io.clock.wallTime()));
      finish(0);
    });
}

/** Says on standard error that the last run was killed. What is damaged is for `morendo report` to say. */
function tellOfKill(io: Io, dir: string): void {
  const last = orNothing(() => readLastReport(dir));
  const killed = orNothing(() => killedSince(dir, last));
  if (killed !== undefined) warn(io, `morendo: the last run was ${describeKill(killed).split("\n", 1)[0]}`);
}

function orNothing<Found>(read: () => Found | undefined): Found | undefined {
  try {
    return read();
  } catch (thrown) {
    if (codeOf(thrown) === undefined) throw thrown;
    return undefined;
  }
}

function describeSuspension(suspension: ServerStatus["suspension"]): readonly string[] {
  if (suspension === undefined) return [];
  const { mode, reason, startedAt, late } = suspension;
  const behind = late.length === 0 ? "" : `; not done in time: ${late.join(", ")}`;
  return [`  suspended  mode ${mode}, since ${startedAt}: ${reason}${behind}`];
}

/** Returns the status as a few lines for people. */
export function describeStatus(status: ServerStatus, now: number): string {
  const { s2s, journal } = status;
  const left = status.remainingMs === undefined ? "" : `, ${formatDuration(status.remainingMs)} left`;
  const phase = status.phase === undefined ? "" : `, in phase ${status.phase}${left}`;
  const resumable = status.resumable > 0 ? `, ${status.resumable} that can be resumed` : "";
  const waiting = status.hibernating > 0 ? `, ${status.hibernating} of them waiting for their clients` : "";
  return [
    `Morendo ${status.version}: ${status.state}${phase} (pid ${status.pid})`,
    ...describeSuspension(status.suspension),
    `  since      ${status.startedAt} (${formatDuration(Math.max(0, now - Date.parse(status.startedAt)))})`,
    `  hosts      ${status.hosts.join(", ")}`,
    `  listening  ${status.listening.length === 0 ? "no more" : status.listening.join(", ")}`,
    `  sessions   ${status.sessions}${resumable}${waiting}`,
    `  servers    ${s2s.outgoing} outgoing, ${s2s.incoming} incoming, ${s2s.queued} stanzas waiting`,
    ...(journal === undefined || journal.waiting === 0
      ? []
      : [`  journal    ${journal.waiting} on the disk, for ${firstOf(Object.keys(journal.domains))}`]),
  ].join("\n");
}

const MAX_NAMED = 3;

function firstOf(names: readonly string[]): string {
  const more = names.length - MAX_NAMED;
  return `${names.slice(0, MAX_NAMED).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}
