// The log of the running server: short lines for a person at a terminal, JSON lines for everything else. It is written
// synchronously, so that nothing waits to be written when the process ends.

import { closeSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { destination, type Level, levels, pino } from "pino";
import type { Config } from "../config/schema.ts";
import { asError, MorendoError } from "../util/errors.ts";
import type { Logger } from "../util/log.ts";
import type { Io } from "./io.ts";

/** A log, and what a terminal needs to show something else for a while. */
export interface Log {
  readonly log: Logger;
  /** Whether lines go to the terminal. */
  readonly onTerminal: boolean;
  /** Keeps warnings back and drops lesser lines, until the returned function writes what was kept. Errors still show. */
  hold(): () => void;
  /**
   * Checks other options and returns what puts them in force; a log file is opened anew then, also one of the same name,
   * which may have been moved away. Throws `MORENDO_LOG_FILE` when it cannot be opened.
   */
  prepare(options: Config["log"]): () => void;
}

/** Returns the log of `[log]`. Throws `MORENDO_LOG_FILE` when the log file cannot be opened. */
export function makeLog(options: Config["log"], { stdout }: Pick<Io, "stdout">): Log {
  const terminal = stdout.isTTY === true ? new TerminalLines((line) => stdout.write(`${line}\n`)) : undefined;
  const open = ({ file }: Config["log"]): LineSink => {
    if (file !== undefined) return openFile(file);
    return terminal ?? destination({ dest: 1, sync: true });
  };
  let least: number = levels.values[options.level] ?? 0;
  let sink = open(options);
  const log = pino(
    {
      level: "debug" satisfies Level,
      base: null,
      // Children of a logger keep the level that it had when they were made: so what is to be dropped is dropped here.
      hooks: {
        logMethod(args, method, level) {
          if (level >= least) method.apply(this, args);
        },
      },
    },
    { write: (line: string) => sink.write(line) },
  );
  return {
    log,
    get onTerminal() {
      return sink === terminal;
    },
    hold: () => terminal?.hold() ?? (() => undefined),
    prepare: (next) => {
      if (next.file !== undefined) closeSync(openToAppend(next.file));
      return () => {
        const before = sink;
        sink = open(next);
        least = levels.values[next.level] ?? 0;
        before.end?.();
      };
    },
  };
}

/** Where lines go. */
interface LineSink {
  write(line: string): unknown;
  /** Closes a file; standard output stays open. */
  end?(): void;
}

function openFile(file: string): LineSink {
  closeSync(openToAppend(file));
  return destination({ dest: file, sync: true, append: true });
}

function openToAppend(file: string): number {
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    return openSync(file, "a", 0o666);
  } catch (cause) {
    const message = `the log file ${file} cannot be opened: ${asError(cause).message} (option log.file)`;
    throw new MorendoError("MORENDO_LOG_FILE", message, { cause });
  }
}

const WARNING = 40;
const ERROR = 50;
const MAX_HELD = 1_000;

/** Writes pino's lines for people, or keeps them while something else is on the screen. */
class TerminalLines {
  #print: (line: string) => void;
  #held: string[] | undefined;

  constructor(print: (line: string) => void) {
    this.#print = print;
  }

  write(json: string): void {
    const fields = JSON.parse(json) as Readonly<Record<string, unknown>>;
    const level = Number(fields.level);
    if (this.#held === undefined || level >= ERROR) this.#print(shortLine(fields));
    else if (level >= WARNING && this.#held.length < MAX_HELD) this.#held.push(shortLine(fields));
  }

  hold(): () => void {
    this.#held ??= [];
    return () => {
      const held = this.#held ?? [];
      this.#held = undefined;
      for (const line of held) this.#print(line);
    };
  }
}

const LEVELS: Readonly<Record<number, string>> = { 20: "debug", 40: "warning", 50: "ERROR", 60: "FATAL" };

/** Returns a line of pino's as a person reads it: `12:30:05 warning: the message (field: value)`. */
export function shortLine({ level, time, msg, ...fields }: Readonly<Record<string, unknown>>): string {
  const clock = new Date(Number(time)).toTimeString().slice(0, 8);
  const name = LEVELS[Number(level)];
  const details = Object.entries(fields).map(([key, value]) => `${key}: ${plain(detailOf(value))}`);
  return `${clock} ${name === undefined ? "" : `${name}: `}${plain(msg)}${details.length === 0 ? "" : ` (${details.join(", ")})`}`;
}

/** Of an error only its message is shown: stacks are for the JSON log. */
function detailOf(value: unknown): unknown {
  return typeof value === "object" && value !== null && "message" in value && "stack" in value ? value.message : value;
}

/** Escapes control characters: what a peer sent must not steer the terminal. */
function plain(value: unknown): string {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "");
  return text.replace(/\p{Cc}/gu, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`);
}
