// `morendo session ...`: who is logged in to the running server.

import { Command, type Option } from "commander";
import type { SessionList } from "../../operations/sessions.ts";
import { askServer } from "../ask-server.ts";
import type { ConfigOption } from "../config-option.ts";
import { type Io, say } from "../io.ts";
import type { Finish } from "../program.ts";

/** Ending sessions waits until their contacts have been told. */
const TIMEOUT_MS = 60_000;

interface ListOptions extends ConfigOption {
  readonly host?: string;
  readonly json: boolean;
}

interface EndOptions extends ConfigOption {
  readonly reason?: string;
}

/** Returns the `session` command with its subcommands. */
export function sessionCommand(io: Io, configOption: () => Option, finish: Finish): Command {
  const session = new Command("session").description("list and end sessions of the running server");
  const sub = (usage: string, description: string): Command =>
    session.command(usage).description(description).addOption(configOption());
  const ask = (options: ConfigOption, operation: string, args: object): Promise<unknown> =>
    askServer(io, options, { operation, args, timeoutMs: TIMEOUT_MS });

  sub("list", "list who is logged in: full JID and availability (the first thousand)")
    .option("--host <host>", "only those of one host")
    .option("--json", "print everything as JSON", false)
    .action(async ({ host, json, ...options }: ListOptions) => {
      const list = (await ask(options, "session.list", host === undefined ? {} : { host })) as SessionList;
      say(io, json ? JSON.stringify(list, undefined, 2) : describe(list));
      finish(0);
    });
  sub("end <jid>", "end the session of a full JID, or all of an account; their clients have to log in anew")
    .option("--reason <text>", "shown to the client")
    .action(async (jid: string, { reason, ...options }: EndOptions) => {
      const args = { jid, ...(reason === undefined ? {} : { reason }) };
      const { ended } = (await ask(options, "session.end", args)) as { readonly ended: number };
      say(io, `ended ${ended} ${ended === 1 ? "session" : "sessions"}`);
      finish(0);
    });
  return session;
}

function describe({ total, users, active, sessions }: SessionList): string {
  const lines = sessions.map(({ jid, show }) => `${jid}  ${show === "none" ? "no presence" : show}`);
  return [
    ...lines,
    `${total} ${total === 1 ? "session" : "sessions"}; ${users} ${users === 1 ? "user" : "users"} online, ${active} active`,
  ].join("\n");
}
