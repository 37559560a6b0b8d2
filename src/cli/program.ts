// The `morendo` command: its subcommands, its help, and how errors become messages and exit codes.

import { Command, CommanderError, Option } from "commander";
import { ConfigError } from "../config/load.ts";
import { version } from "../server/version.ts";
import { exitCode } from "../shutdown/exit-codes.ts";
import { asError, MorendoError } from "../util/errors.ts";
import { announceCommand } from "./commands/announce.ts";
import { cancelCommand } from "./commands/cancel.ts";
import { configCommand } from "./commands/config.ts";
import { dashboardCommand } from "./commands/dashboard.ts";
import { evacuateCommand } from "./commands/evacuate.ts";
import { journalCommand } from "./commands/journal.ts";
import { moduleCommand } from "./commands/module.ts";
import { planCommand } from "./commands/plan.ts";
import { reloadCommand } from "./commands/reload.ts";
import { reportCommand } from "./commands/report.ts";
import { restartCommand } from "./commands/restart.ts";
import { sessionCommand } from "./commands/session.ts";
import { startCommand } from "./commands/start.ts";
import { statusCommand } from "./commands/status.ts";
import { stopCommand } from "./commands/stop.ts";
import { resumeCommand, suspendCommand } from "./commands/suspend.ts";
import { userCommand } from "./commands/user.ts";
import { watchCommand } from "./commands/watch.ts";
import { type Io, warn } from "./io.ts";

/** Called by a command with its exit code. */
export type Finish = (code: number) => void;

const HELP = `
Examples:
  morendo start                                  run the server with ./morendo.toml or the defaults
  morendo start --config /etc/morendo/morendo.toml
  morendo user add juliet@example.org            create an account; asks for the password
  morendo status                                 is it running, and how is it?
  morendo plan                                   what would a stop do now, and how long may it take?
  morendo stop --reason "new version"            stop it and see what became of everything
  morendo stop --delay 5m --announce "Moving house"
  morendo report                                 how did the last stop go?
  morendo restart                                replace it by a new process without a gap
  morendo reload                                 take in configuration and certificates anew
  morendo suspend                                let it stand still with its connections up; morendo resume
  morendo cancel                                 bring it back, as long as no session was closed

Exit codes: 0 good, 1 failed, 2 bad configuration or usage; for start and stop also 3 something was lost,
4 the deadline cut phases short, 137 killed by the watchdog. More in docs/OPERATORS.md.`;

/** Runs the command line `args` (without the program's name) and resolves with the exit code. Never rejects. */
export async function runCommand(args: readonly string[], io: Io): Promise<number> {
  let code = 0;
  const program = buildProgram(io, (finished) => {
    code = finished;
  });
  try {
    await program.parseAsync(args, { from: "user" });
    return code;
  } catch (thrown) {
    return failed(thrown, io);
  }
}

function buildProgram(io: Io, finish: Finish): Command {
  const configOption = (): Option =>
    new Option(
      "-c, --config <file>",
      "the configuration (default: ./morendo.toml or /etc/morendo/morendo.toml, if there; else built-in defaults)",
    ).env("MORENDO_CONFIG");
  const program = new Command("morendo")
    .description("an XMPP server that goes down well: it tells everybody, loses nothing and says what it did")
    .version(version, "-V, --version", "print the version")
    .addHelpText("after", HELP)
    .addCommand(startCommand(io, configOption, finish))
    .addCommand(userCommand(io, configOption, finish))
    .addCommand(configCommand(io, configOption, finish))
    .addCommand(moduleCommand(io, configOption, finish))
    .addCommand(journalCommand(io, configOption, finish))
    .addCommand(sessionCommand(io, configOption, finish))
    .addCommand(statusCommand(io, configOption, finish))
    .addCommand(dashboardCommand(io, configOption, finish))
    .addCommand(planCommand(io, configOption, finish))
    .addCommand(stopCommand(io, configOption, finish))
    .addCommand(cancelCommand(io, configOption, finish))
    .addCommand(announceCommand(io, configOption, finish))
    .addCommand(evacuateCommand(io, configOption, finish))
    .addCommand(watchCommand(io, configOption, finish))
    .addCommand(reportCommand(io, configOption, finish))
    .addCommand(restartCommand(io, configOption, finish))
    .addCommand(reloadCommand(io, configOption, finish))
    .addCommand(suspendCommand(io, configOption, finish))
    .addCommand(resumeCommand(io, configOption, finish));
  configure(program, io);
  return program;
}

/** Lets commander write to our streams and throw rather than end the process, in every subcommand. */
function configure(command: Command, io: Io): void {
  command
    .exitOverride()
    .showHelpAfterError("(add --help for what can be given)")
    .configureOutput({ writeOut: (text) => io.stdout.write(text), writeErr: (text) => io.stderr.write(text) });
  for (const inner of command.commands) configure(inner, io);
}

function failed(thrown: unknown, io: Io): number {
  if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? 0 : exitCode("usage");
  if (thrown instanceof ConfigError) {
    warn(io, `morendo: the configuration cannot be used:\n${thrown.message.replace(/^/gm, "  ")}`);
    return exitCode("usage");
  }
  const error = asError(thrown);
  // What is not ours is a bug or broken I/O: the stack says where.
  warn(io, `morendo: ${thrown instanceof MorendoError ? error.message : (error.stack ?? error.message)}`);
  return exitCode("fatal");
}
