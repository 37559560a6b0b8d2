// `morendo module ...`: the modules of the running server.

import { Command, type Option } from "commander";
import type { ModuleInfo } from "../../server/module-loader.ts";
import { askServer } from "../ask-server.ts";
import type { ConfigOption } from "../config-option.ts";
import { type Io, say } from "../io.ts";
import type { Finish } from "../program.ts";

/** A module that loads may take half a minute, and so may the one that is put back. */
const TIMEOUT_MS = 120_000;

const ENTRY = `
MODULE is what could stand in \`modules\` of the configuration: the name of one of Morendo's own modules, a path (./x, ../x
or /x; a file, or a folder with an index.js), or an npm package (npm:name, @scope/name, or any name that is none of
Morendo's own). Paths and packages are looked for from the configuration file's folder. Its options are those of
[module.NAME] when the server started. To have it loaded at the next start as well, add it to \`modules\`.

Examples:
  morendo module load ./modules/knock
  morendo module load npm:morendo-module-knock`;

const UNLOAD = `
Nothing of it stays behind. A module that another one requires is not unloaded (exit code 1). At the next start it is
loaded again, unless it is taken out of \`modules\`.`;

const RELOAD = `
The module's file is read anew and the module put into its old place, with the same options, also when others require it.
Files that it imports stay as they were first read: restart for those. If the new code cannot be loaded, the old one serves
on and the exit code is 1; the message says what is wrong.`;

/** Returns the `module` command with its subcommands. */
export function moduleCommand(io: Io, configOption: () => Option, finish: Finish): Command {
  const module = new Command("module").description("list, load, unload and reload modules of the running server");
  const sub = (usage: string, description: string): Command =>
    module.command(usage).description(description).addOption(configOption());
  const ask = (options: ConfigOption, operation: string, args: object): Promise<unknown> =>
    askServer(io, options, { operation, args, timeoutMs: TIMEOUT_MS });

  sub("list", "list the loaded modules in the order of loading: name, where it is from, what it has registered")
    .option("--json", "print everything as JSON", false)
    .action(async (options: ConfigOption & { readonly json: boolean }) => {
      const modules = (await ask(options, "module.list", {})) as readonly ModuleInfo[];
      if (options.json) say(io, JSON.stringify(modules, undefined, 2));
      else if (modules.length > 0) say(io, describeModules(modules));
      finish(0);
    });
  sub("load <module>", "load one more module")
    .addHelpText("after", ENTRY)
    .action(async (entry: string, options: ConfigOption) => {
      say(io, `loaded ${String(await ask(options, "module.load", { entry }))}`);
      finish(0);
    });
  sub("unload <name>", "unload a module")
    .addHelpText("after", UNLOAD)
    .action(async (name: string, options: ConfigOption) => {
      await ask(options, "module.unload", { name });
      say(io, `unloaded ${name}`);
      finish(0);
    });
  sub("reload <name>", "load the code of a module anew")
    .addHelpText("after", RELOAD)
    .action(async (name: string, options: ConfigOption) => {
      await ask(options, "module.reload", { name });
      say(io, `reloaded ${name}`);
      finish(0);
    });
  return module;
}

/** Returns the modules for people, a line each. */
export function describeModules(modules: readonly ModuleInfo[]): string {
  const width = Math.max(...modules.map(({ name }) => name.length));
  return modules.map((module) => `${module.name.padEnd(width)}  ${detailsOf(module).join("; ")}`).join("\n");
}

function detailsOf({ kind, entry, requires, registrations, faults }: ModuleInfo): string[] {
  const details = [kind === "path" || kind === "package" ? `${kind} ${entry}` : kind];
  if (requires.length > 0) details.push(`requires ${requires.join(", ")}`);
  const counts = Object.entries(registrations).map(([what, count]) => `${count} ${wordFor(what, count)}`);
  if (counts.length > 0) details.push(counts.join(", "));
  for (const [what, count] of Object.entries(faults)) details.push(count === 1 ? what : `${what} (${count} times)`);
  return details;
}

function wordFor(what: string, count: number): string {
  const [one, many] = WORDS[what] ?? [what.replace(/s$/, ""), what];
  return count === 1 ? one : many;
}

/** Kinds of registrations whose names are not their plural with an s. */
const WORDS: Readonly<Record<string, readonly [one: string, many: string]>> = {
  identities: ["identity", "identities"],
  streamFeatures: ["stream feature", "stream features"],
  participants: ["participant in phases", "participants in phases"],
};
