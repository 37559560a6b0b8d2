// Gets a password from a person or a script, never from the command line: arguments are visible to every user of the
// machine and stay in the shell's history.

import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { Writable } from "node:stream";
import { asError, MorendoError } from "../util/errors.ts";
import type { Io } from "./io.ts";

const MAX_BYTES = 64 * 1024;

/** Where the password is to come from. */
export interface PasswordOption {
  /** A file whose first line it is; `-` for standard input. */
  readonly passwordFile?: string;
}

/**
 * Returns the password for `account`: the first line of the file, what a person types twice without echo, or the first
 * line of standard input when nobody types there.
 */
export async function readPassword(io: Io, account: string, { passwordFile }: PasswordOption): Promise<string> {
  if (passwordFile !== undefined && passwordFile !== "-") {
    const path = resolve(io.directory, passwordFile);
    const text = await readFile(path, "utf8").catch((cause: unknown) => {
      const message = `the password file cannot be read: ${asError(cause).message}`;
      throw new MorendoError("MORENDO_NO_PASSWORD", message, { cause });
    });
    return firstLine(text);
  }
  if (passwordFile === "-" || io.stdin.isTTY !== true) return firstLine(await readAll(io));
  const password = await ask(io, `Password for ${account}: `);
  if ((await ask(io, "Once more: ")) === password) return password;
  throw new MorendoError("MORENDO_NO_PASSWORD", "the two passwords are not the same");
}

function firstLine(text: string): string {
  const line = text.split(/\r?\n/, 1)[0] ?? "";
  if (line !== "") return line;
  throw new MorendoError("MORENDO_NO_PASSWORD", "there is no password in the first line");
}

async function readAll(io: Io): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of io.stdin) {
    const bytes = Buffer.from(chunk as Uint8Array);
    length += bytes.length;
    if (length > MAX_BYTES) throw new MorendoError("MORENDO_NO_PASSWORD", "standard input is too long for a password");
    chunks.push(bytes);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function ask(io: Io, question: string): Promise<string> {
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: io.stdin, output: silent, terminal: true, historySize: 0 });
  io.stderr.write(question);
  return new Promise((resolve, reject) => {
    let answer: string | undefined;
    lines.once("line", (line) => {
      answer = line;
      lines.close();
    });
    lines.once("SIGINT", () => lines.close());
    lines.once("close", () => {
      io.stderr.write("\n");
      if (answer === undefined) reject(new MorendoError("MORENDO_NO_PASSWORD", "no password was given"));
      else resolve(answer);
    });
  });
}
