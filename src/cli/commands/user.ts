// `morendo user ...`: accounts, with the server running or stopped.

import { Command, Option } from "commander";
import { formatDuration } from "../../util/units.ts";
import { type ConfigOption, findConfig } from "../config-option.ts";
import { importAccounts, inputLines, type LineProblem } from "../import-file.ts";
import { type Io, say, warn } from "../io.ts";
import { type PasswordOption, readPassword } from "../password.ts";
import type { Finish } from "../program.ts";
import { type Users, withUsers } from "../users.ts";

const SHOWN_PROBLEMS = 50;

const NOTE = `
Passwords are never taken from the command line, where others could read them: you are asked (without echo), or they come
from the first line of --password-file or of standard input.`;

const IMPORT_HELP = `
One JSON object per line:
  {"jid":"romeo@example.org","password":"secret"}
  {"jid":"juliet@example.org","password":"secret","roster":[
    {"jid":"romeo@example.org","name":"Romeo","groups":["Friends"],"subscription":"both"}]}   (all on one line)
All lines are checked first. If any is bad, each is reported by its number and nothing is imported.

Examples:
  morendo user import accounts.jsonl
  zcat accounts.jsonl.gz | morendo user import -`;

/** Returns the `user` command with its subcommands. */
export function userCommand(io: Io, configOption: () => Option, finish: Finish): Command {
  const user = new Command("user").description("manage accounts, whether the server runs or not");
  const passwordFile = () =>
    new Option("--password-file <file>", "read the password from a file (- for standard input)");
  const sub = (usage: string, description: string): Command =>
    user.command(usage).description(description).addOption(configOption());
  const run = async (options: ConfigOption, work: (users: Users) => Promise<number>): Promise<void> => {
    finish(await withUsers(io, findConfig(io, options).config, work));
  };

  sub("add <jid>", "create an account")
    .addOption(passwordFile())
    .addHelpText("after", `${NOTE}\n\nExample:\n  morendo user add juliet@example.org`)
    .action((jid: string, options: ConfigOption & PasswordOption) =>
      run(options, async (users) => {
        await users.add(jid, await readPassword(io, jid, options));
        say(io, `created ${jid}`);
        return 0;
      }),
    );
  sub("passwd <jid>", "change the password of an account")
    .addOption(passwordFile())
    .addHelpText("after", NOTE)
    .action((jid: string, options: ConfigOption & PasswordOption) =>
      run(options, async (users) => {
        await users.setPassword(jid, await readPassword(io, jid, options));
        say(io, `changed the password of ${jid}`);
        return 0;
      }),
    );
  sub("remove <jid>", "remove an account with everything stored for it").action((jid: string, options: ConfigOption) =>
    run(options, async (users) => {
      await users.remove(jid);
      say(io, `removed ${jid}`);
      return 0;
    }),
  );
  sub("list [host]", "list the accounts, one per line").action((host: string | undefined, options: ConfigOption) =>
    run(options, async (users) => {
      const accounts = await users.list(host);
      if (accounts.length > 0) say(io, accounts.join("\n"));
      return 0;
    }),
  );
  sub("import [file]", "create many accounts, with rosters, from JSON lines (- for standard input)")
    .option("--skip-bad", "import the good lines even if there are bad ones", false)
    .addHelpText("after", IMPORT_HELP)
    .action((file: string | undefined, options: ConfigOption & { readonly skipBad: boolean }) =>
      run(options, (users) => runImport(io, users, file, options.skipBad)),
    );
  return user;
}

async function runImport(io: Io, users: Users, file: string | undefined, skipBad: boolean): Promise<number> {
  const name = file === undefined || file === "-" ? "standard input" : file;
  const began = io.clock.now();
  const { imported, problems } = await importAccounts(inputLines(io, file), {
    users,
    skipBad,
    onProgress: (step, done, total) => {
      if (io.stderr.isTTY === true)
        io.stderr.write(`\r${step === "check" ? "checked" : "imported"} ${done} of ${total} `);
    },
  });
  if (io.stderr.isTTY === true) io.stderr.write("\r\u001b[K");
  reportProblems(io, name, problems);
  if (problems.length > 0 && !skipBad) {
    warn(io, `nothing was imported: ${problems.length} bad line${problems.length === 1 ? "" : "s"} in ${name}`);
    return 1;
  }
  const took = formatDuration(io.clock.now() - began);
  say(io, `imported ${imported} account${imported === 1 ? "" : "s"} in ${took}`);
  return problems.length === 0 ? 0 : 1;
}

function reportProblems(io: Io, name: string, problems: readonly LineProblem[]): void {
  for (const { line, message } of problems.slice(0, SHOWN_PROBLEMS)) warn(io, `${name}:${line}: ${message}`);
  if (problems.length > SHOWN_PROBLEMS) warn(io, `and ${problems.length - SHOWN_PROBLEMS} more bad lines`);
}
