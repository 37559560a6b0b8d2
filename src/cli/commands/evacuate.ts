// `morendo evacuate`: lets all but operators leave the running server, at a pace; morendo resume lets them in again.

import { Command, InvalidArgumentError, Option } from "commander";
import { connectControl } from "../../control/control-client.ts";
import { exitCode } from "../../shutdown/exit-codes.ts";
import type { SuspendReport } from "../../shutdown/suspend-types.ts";
import { formatDuration } from "../../util/units.ts";
import { type ConfigOption, findServer } from "../config-option.ts";
import { interruptible } from "../interruption.ts";
import { type Io, say, warn } from "../io.ts";
import { liveView } from "../live-view.ts";
import type { Finish } from "../program.ts";
import { readTimeLimit } from "../schedule-options.ts";

interface EvacuateOptions extends ConfigOption {
  readonly to?: string;
  readonly pace?: number;
  readonly timeout?: number;
  readonly onTimeout?: string;
  readonly reason?: string;
  readonly follow: boolean;
  readonly json: boolean;
}

/** What the operation answers. */
interface Evacuated extends SuspendReport {
  readonly left: { readonly count: number; readonly names: readonly string[] };
}

const HELP = `
Accounts in [admin] accounts stay, and other servers stay connected; nobody else may log in until morendo resume, which also
ends an evacuation that is under way. With --to clients are told to go on there (see-other-host), which not all of them do.

The exit code is 0 when only operators are left, 4 when time was over before (--on-timeout stay, the default), and 1 when it was
refused, called off or taken back. --json prints the record; --json --follow first the events state and progress, one JSON object
per line.

Examples:
  morendo evacuate --to xmpp2.example.org:5222 --pace 100/s
  morendo evacuate --reason "this machine is going away" && morendo stop`;

const INTERRUPTED =
  "evacuating goes on without this command: morendo status tells how far it is, morendo resume ends it";

/** Returns the `evacuate` command. */
export function evacuateCommand(io: Io, configOption: () => Option, finish: Finish): Command {
  return new Command("evacuate")
    .description("let all but operators leave, at a pace")
    .option("--to <host>", "where clients are sent, as HOST or HOST:PORT")
    .option("--pace <number>", "how many sessions a second, such as 50/s (50 unless given)", readPace)
    .option("--timeout <duration>", "how long it may take (10m unless given)", readTimeLimit)
    .addOption(new Option("--on-timeout <what>", "what becomes of it when time is over").choices(["back", "stay"]))
    .option("--reason <text>", "shown to clients, and logged")
    .option("--follow", "with --json: each event as a line", false)
    .option("--json", "print the record as JSON", false)
    .addOption(configOption())
    .addHelpText("after", HELP)
    .action(async (options: EvacuateOptions) => finish(await evacuate(io, options)));
}

function readPace(text: string): number {
  const [, number] = /^(\d+(?:\.\d+)?)(?:\/s)?$/.exec(text) ?? [];
  if (number === undefined || Number(number) <= 0) throw new InvalidArgumentError('expected a pace such as "50/s"');
  return Number(number);
}

async function evacuate(io: Io, given: EvacuateOptions): Promise<number> {
  const { to, pace, timeout, onTimeout, reason, follow, json, ...options } = given;
  const { control } = findServer(io, options);
  const client = await connectControl({ path: control.socket, clock: io.clock });
  const view = liveView({ io, shown: !json ? "people" : follow ? "lines" : "nothing", to: io.stderr });
  try {
    const args = {
      follow: true,
      ...(to === undefined ? {} : { to }),
      ...(pace === undefined ? {} : { pace }),
      ...(timeout === undefined ? {} : { timeoutMs: timeout }),
      ...(onTimeout === undefined ? {} : { onTimeout }),
      ...(reason === undefined ? {} : { reason }),
    };
    const work = client.request("evacuate", args, view.onEvent);
    const result = (await interruptible(io, INTERRUPTED, work)) as Evacuated;
    if (!view.answered(result)) show(io, result, json);
    if (!result.suspended) return exitCode("fatal");
    return result.late.length === 0 ? 0 : exitCode("incomplete");
  } finally {
    client.close();
  }
}

function show(io: Io, result: Evacuated, json: boolean): void {
  const { suspended, outcome, why, durationMs, left } = result;
  if (json) say(io, JSON.stringify(result, undefined, 2));
  else if (!suspended) warn(io, `morendo: not evacuated: ${why ?? outcome}`);
  else if (left.count === 0) say(io, `evacuated in ${formatDuration(durationMs)}: only operators are left`);
  else {
    const more = left.count > left.names.length ? ` and ${left.count - left.names.length} more` : "";
    warn(io, `morendo: after ${formatDuration(durationMs)} still here: ${left.names.join(", ")}${more}`);
  }
}
