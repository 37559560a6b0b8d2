// `morendo watch`: follows what happens in the life cycle of the running server, until it has stopped.

import { Command, type Option } from "commander";
import { connectControl } from "../../control/control-client.ts";
import { exitCode } from "../../shutdown/exit-codes.ts";
import { codeOf } from "../../util/errors.ts";
import { type ConfigOption, findServer } from "../config-option.ts";
import { type Io, warn } from "../io.ts";
import { liveView } from "../live-view.ts";
import type { Finish } from "../program.ts";

const HELP = `
It shows the state at once, and then every change of it, each phase with what it waits for, and the reports. It ends when
the server has stopped, with exit code 0, or 1 when the server was gone before it could report. It changes nothing.

--json prints one JSON object per line: {"event":"state","data":{...}}; the events are state, phase, progress, cancelled and
report.`;

/** Returns the `watch` command. */
export function watchCommand(io: Io, configOption: () => Option, finish: Finish): Command {
  return new Command("watch")
    .description("follow what happens to the running server")
    .option("--json", "print each event as a line of JSON", false)
    .addOption(configOption())
    .addHelpText("after", HELP)
    .action(async (options: ConfigOption & { readonly json: boolean }) => finish(await watch(io, options)));
}

async function watch(io: Io, { json, ...options }: ConfigOption & { readonly json: boolean }): Promise<number> {
  const { control } = findServer(io, options);
  const client = await connectControl({ path: control.socket, clock: io.clock });
  const view = liveView({ io, shown: json ? "lines" : "people", to: io.stdout, showsStates: true });
  try {
    await client.request("watch", {}, view.onEvent);
    return 0;
  } catch (thrown) {
    if (codeOf(thrown) !== "MORENDO_CONTROL_LOST") throw thrown;
    warn(io, "morendo: the server was gone before it could report: see morendo report");
    return exitCode("fatal");
  } finally {
    client.close();
  }
}
