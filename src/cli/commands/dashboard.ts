// `morendo dashboard`: the address of the page that shows the life cycle, with the token that opens it.

import { Command, type Option } from "commander";
import { ownTokenFile, readToken } from "../../control/http/tokens.ts";
import { splitAddress } from "../../server/address.ts";
import { MorendoError } from "../../util/errors.ts";
import { type ConfigOption, findConfig } from "../config-option.ts";
import { type Io, say, warn } from "../io.ts";
import type { Finish } from "../program.ts";

/** Returns the `dashboard` command. */
export function dashboardCommand(io: Io, configOption: () => Option, finish: Finish): Command {
  return new Command("dashboard")
    .description("print the address of the page that shows the life cycle; whoever has it can do everything")
    .addOption(configOption())
    .action(async (options: ConfigOption) => {
      const { config } = findConfig(io, options);
      const [address] = config.http.listen;
      if (address === undefined) {
        throw new MorendoError("MORENDO_NO_HTTP", "there is no page: `listen` in [http] is empty");
      }
      const token = await readToken(ownTokenFile(config.data));
      // What comes after `#` is never sent, so that it stands in no log.
      say(io, `http://${reachable(address)}/#token=${token}`);
      if (io.stdout.isTTY === true) warn(io, "Keep this address to yourself: it opens the server.");
      finish(0);
    });
}

/** Nobody can go to an address that stands for all addresses. */
function reachable(address: string): string {
  const { host, port } = splitAddress(address);
  if (host === "0.0.0.0") return `127.0.0.1:${port}`;
  if (host === "::") return `[::1]:${port}`;
  return address;
}
