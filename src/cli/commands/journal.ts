// `morendo journal ...`: what waits for other servers, with the server running or stopped.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { Command, InvalidArgumentError, type Option } from "commander";
import type { Config } from "../../config/schema.ts";
import { connectControl } from "../../control/control-client.ts";
import { Jid } from "../../jid/jid.ts";
import {
  type JournalDropped,
  type JournalItem,
  type JournalList,
  StoredJournal,
} from "../../server/s2s/journal-desk.ts";
import { LmdbStore } from "../../store/lmdb.ts";
import { codeOf, MorendoError } from "../../util/errors.ts";
import { askServer } from "../ask-server.ts";
import { type ConfigOption, findConfig } from "../config-option.ts";
import { type Io, say } from "../io.ts";
import type { Finish } from "../program.ts";

const TIMEOUT_MS = 120_000;
const LIMIT = 1_000;

const DROP = `
Give one entry by its name, as \`list\` shows it, or --domain for everything that waits for a domain. With --tell the senders
get an error that says so; for that the server has to run. What is on its way to the other server at this moment stays.

Examples:
  morendo journal drop 7-42
  morendo journal drop --domain gone.example --tell`;

interface ListOptions extends ConfigOption {
  readonly domain?: string;
  readonly limit: number;
  readonly json: boolean;
}

interface DropOptions extends ConfigOption {
  readonly domain?: string;
  readonly tell: boolean;
}

/** What can be done with the journal, wherever it is. */
interface JournalAccess {
  list(limit: number, domain: string | undefined): Promise<JournalList>;
  drop(args: { readonly id?: string; readonly domain?: string; readonly tell: boolean }): Promise<JournalDropped>;
}

/** Returns the `journal` command with its subcommands. */
export function journalCommand(io: Io, configOption: () => Option, finish: Finish): Command {
  const journal = new Command("journal").description("see and give up what waits for other servers");
  const sub = (usage: string, description: string): Command =>
    journal.command(usage).description(description).addOption(configOption());

  sub("list", "list what waits, oldest first for each domain: name, since when, what, from whom, to whom")
    .option("-d, --domain <domain>", "only what waits for this domain")
    .option("--limit <count>", "how many entries are named", countOf, LIMIT)
    .option("--json", "print everything as JSON", false)
    .action(async ({ domain, limit, json, ...options }: ListOptions) => {
      const list = await withJournal(io, findConfig(io, options).config, (access) => access.list(limit, domain));
      say(io, json ? JSON.stringify(list, undefined, 2) : describeList(list));
      finish(0);
    });
  sub("drop [id]", "give up one entry, or all for a domain")
    .option("-d, --domain <domain>", "everything that waits for this domain")
    .option("-t, --tell", "tell the senders by an error", false)
    .addHelpText("after", DROP)
    .action(async (id: string | undefined, { domain, tell, ...options }: DropOptions, command: Command) => {
      if ((id === undefined) === (domain === undefined)) {
        command.error("error: give the name of an entry or --domain, and not both");
      }
      const args = { ...(id === undefined ? {} : { id }), ...(domain === undefined ? {} : { domain }), tell };
      const result = await withJournal(io, findConfig(io, options).config, (access) => access.drop(args));
      say(io, describeDropped(result));
      finish(0);
    });
  for (const name of ["retry", "flush"]) {
    sub(`${name} <domain>`, name === "retry" ? "try a domain now, whatever its back-off" : "the same as retry").action(
      async (domain: string, options: ConfigOption) => {
        await askServer(io, options, { operation: "journal.retry", args: { domain }, timeoutMs: TIMEOUT_MS });
        say(io, `trying ${domain}`);
        finish(0);
      },
    );
  }
  return journal;
}

/** Calls `work` with the journal of the running server, or with the one in the store when no server runs. */
async function withJournal<Result>(
  io: Io,
  config: Config,
  work: (access: JournalAccess) => Promise<Result>,
): Promise<Result> {
  try {
    const client = await connectControl({ path: config.control.socket, clock: io.clock, timeoutMs: TIMEOUT_MS });
    try {
      return await work({
        list: async (limit, domain) =>
          (await client.request("journal.list", { limit, ...(domain && { domain }) })) as JournalList,
        drop: async (args) => (await client.request("journal.drop", args)) as JournalDropped,
      });
    } finally {
      client.close();
    }
  } catch (thrown) {
    if (codeOf(thrown) !== "MORENDO_NOT_RUNNING") throw thrown;
  }
  const path = join(config.data, "store");
  if (!existsSync(path)) {
    return await work({
      list: async () => ({ items: [], more: false, damaged: 0 }),
      drop: async () => ({ dropped: 0, told: 0, underWay: 0 }),
    });
  }
  const store = await LmdbStore.open({ path, clock: io.clock });
  try {
    return await work(storedAccess(new StoredJournal(store)));
  } finally {
    await store.close();
  }
}

function storedAccess(journal: StoredJournal): JournalAccess {
  return {
    list: (limit, domain) => journal.list(limit, prepared(domain)),
    drop: async ({ id, domain, tell }) => {
      if (tell) {
        throw new MorendoError("MORENDO_NOT_RUNNING", "no server runs, and without one senders cannot be told");
      }
      return await journal.drop(id === undefined ? { domain: prepared(domain) ?? "" } : { id });
    },
  };
}

function prepared(domain: string | undefined): string | undefined {
  return domain === undefined ? undefined : (Jid.parse(domain)?.domain ?? domain);
}

function countOf(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count <= 0 || count > 10_000) {
    throw new InvalidArgumentError("expected a whole number from 1 to 10000");
  }
  return count;
}

function describeList({ items, more, damaged }: JournalList): string {
  const lines = items.length === 0 ? ["nothing waits"] : items.map(describeItem);
  if (more) lines.push(`and more (--limit ${items.length})`);
  if (damaged > 0) lines.push(`${damaged} that cannot be read`);
  return lines.join("\n");
}

function describeItem({ id, since, until, what, from, to, stanzaId }: JournalItem): string {
  const named = stanzaId === undefined ? "" : ` id=${stanzaId}`;
  return `${id}  ${since}  ${what}  ${from} -> ${to}${named}  (until ${until})`;
}

function describeDropped({ dropped, told, underWay }: JournalDropped): string {
  const rest = underWay === 0 ? "" : `; ${underWay} on their way at this moment stay`;
  return `gave up ${dropped}; ${told === 0 ? "nobody is told" : `${told} senders are told`}${rest}`;
}
