// A `morendo` command played in this process to its end. Not for: the command as a process (test/integration/cli/command.ts).

import { Readable, Writable } from "node:stream";
import type { Io } from "../../src/cli/io.ts";
import { runCommand } from "../../src/cli/program.ts";
import { systemClock } from "../../src/util/clock.ts";
import { systemRandom } from "../../src/util/random.ts";

/** What a command said and how it ended. */
export interface Said {
  readonly code: number;
  readonly output: string;
}

/** Plays `morendo ARGS` in a folder, without this process's environment and with `input` on its standard input. */
export async function commandIn(folder: string, args: readonly string[], input = ""): Promise<Said> {
  let output = "";
  const sink = new Writable({
    write(chunk, _encoding, done) {
      output += String(chunk);
      done();
    },
  });
  const io: Io = {
    stdin: Readable.from([input]),
    stdout: sink,
    stderr: sink,
    environment: {},
    directory: folder,
    clock: systemClock,
    random: systemRandom,
  };
  const code = await runCommand(args, io);
  return { code, output };
}
