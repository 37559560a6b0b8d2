// A line of generations of test/support/handover-child.ts: starts the first, reads what all of them print, and ends every
// one of them, by the process ids that they told. Not for: what they are to do.

import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import type { HandoverOutcome } from "../../src/handover/index.ts";
import { NODE, runnable } from "./program.ts";

/** The program of each generation. */
export const CHILD = runnable(new URL("handover-child.ts", import.meta.url));

/** What a generation printed. */
export interface Line {
  readonly generation: number;
  readonly pid: number;
  readonly text: string;
}

/** The outcome as it is printed. */
export type PrintedOutcome =
  | { readonly ok: true; readonly pid: number; readonly durationMs: number; readonly frozenMs: number }
  | Extract<HandoverOutcome, { ok: false }>;

export interface SceneOptions {
  /** The settings of the child: see there. */
  readonly settings: object;
  /** The script to start instead of the child's own; a symlink to it, say. */
  readonly script?: string;
  readonly command?: readonly [string, ...string[]];
  readonly env?: Readonly<Record<string, string>>;
}

/** One line of generations. */
export class HandoverScene {
  readonly lines: Line[] = [];
  /** What was printed in no known form: stacks, mostly. */
  other = "";
  readonly child: ChildProcess;
  /** How the first process ended. */
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  #waiting: (() => void)[] = [];
  #rest = "";

  constructor({ settings, script = CHILD, command = NODE, env = {} }: SceneOptions) {
    const [file, ...args] = command;
    this.child = spawn(file, [...args, script], {
      env: { ...process.env, ...env, HANDOVER_TEST: JSON.stringify(settings) },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.child.stdout?.setEncoding("utf8").on("data", (text: string) => this.#read(text));
    this.child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.other += text;
    });
    this.exited = new Promise((resolve) => {
      this.child.once("exit", (code, signal) => {
        resolve({ code, signal });
        this.#changed();
      });
    });
  }

  /** The process ids, by generation; a generation may have several, when restarts failed. */
  get pids(): readonly number[] {
    return [...new Set(this.lines.map(({ pid }) => pid))];
  }

  /** Waits for a line of this generation that begins with `text`, after the first `from` lines. */
  async line(generation: number, text: string, from = 0): Promise<Line> {
    for (;;) {
      const found = this.lines.slice(from).find((line) => line.generation === generation && line.text.startsWith(text));
      if (found !== undefined) return found;
      const { exitCode, signalCode } = this.child;
      if (generation === 1 && (exitCode ?? signalCode) !== null) {
        throw new Error(`the first process ended without "${text}":\n${this.other}`);
      }
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
      });
    }
  }

  /** Waits for a generation to serve; returns its process id and where it listens. */
  async ready(generation: number): Promise<{ readonly pid: number; readonly addresses: readonly string[] }> {
    const { pid, text } = await this.line(generation, "ready");
    return { pid, addresses: text.split(" ").slice(1) };
  }

  /** Asks a process for a restart and returns what it says of the outcome. */
  async restart(pid: number): Promise<PrintedOutcome> {
    const from = this.lines.length;
    const generation = this.lines.find((line) => line.pid === pid)?.generation ?? 1;
    process.kill(pid, "SIGUSR2");
    return outcomeOf(await this.line(generation, "outcome", from));
  }

  /** Waits until a process is gone. */
  async gone(pid: number): Promise<void> {
    while (isAlive(pid)) await new Promise((resolve) => setTimeout(resolve, 10));
  }

  /** Ends every process of the scene. */
  async end(): Promise<void> {
    for (const pid of this.pids) {
      if (isOurs(pid)) process.kill(pid, "SIGKILL");
    }
    this.child.kill("SIGKILL");
    await this.exited;
  }

  #changed(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #read(text: string): void {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      const match = /^g(\d+) (\d+) (.*)$/.exec(line);
      if (match === null) this.other += `${line}\n`;
      else this.lines.push({ generation: Number(match[1]), pid: Number(match[2]), text: match[3] ?? "" });
    }
    this.#changed();
  }
}

export function outcomeOf({ text }: Line): PrintedOutcome {
  return JSON.parse(text.slice("outcome ".length)) as PrintedOutcome;
}

/** Tells whether a process is there. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Tells whether this is one of our generations, and not a process that has got its number, or has it in another namespace. */
function isOurs(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, "utf8").includes("HANDOVER_TEST=");
  } catch {
    return false;
  }
}

/** Asks a listener who it is: the generation, the process id, how many it has answered, and the text sent. */
export function ask(address: string): Promise<string> {
  const cut = address.lastIndexOf(":");
  return new Promise((resolve, reject) => {
    let text = "";
    const socket = connect({ host: address.slice(0, cut), port: Number(address.slice(cut + 1)) });
    socket.setEncoding("utf8").on("error", reject);
    socket.on("data", (chunk: string) => {
      if (text === "") socket.write("ping\n");
      text += chunk;
    });
    socket.on("end", () => resolve(text.split("\n")[1] ?? ""));
  });
}

/** What a process has open, without the descriptor that looking costs. */
export function openDescriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}
