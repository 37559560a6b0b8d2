// One server process under test: its folder, its output, waiting until it is ready, stopping it by its process id, and
// cleaning up behind it also when a test failed. Not for: what is in the folder (prosody.ts, ejabberd.ts, morendo.ts).

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** How a process ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Milliseconds on the clock of `performance.now()`. */
  readonly at: number;
}

const living = new Set<ServerProcess>();

// The runner's last act: whatever a failed test left behind goes too.
process.once("exit", () => {
  for (const server of living) server.abandon();
});

/** Makes an empty temporary folder; `ServerProcess` deletes the one it is given. */
export function temporaryFolder(name: string): string {
  return mkdtempSync(join(tmpdir(), `morendo-${name}-`));
}

/** A started server. */
export class ServerProcess {
  readonly name: string;
  readonly folder: string;
  /** Resolves when the process is gone; never rejects. */
  readonly exited: Promise<Exit>;
  exit: Exit | undefined;
  #child: ChildProcess;
  #output = "";
  #logFiles: readonly string[];

  constructor(
    name: string,
    folder: string,
    command: readonly [string, ...string[]],
    options: { env?: NodeJS.ProcessEnv; logFiles?: readonly string[]; cwd?: string } = {},
  ) {
    this.name = name;
    this.folder = folder;
    this.#logFiles = options.logFiles ?? [];
    const [file, ...args] = command;
    this.#child = spawn(file, args, {
      cwd: options.cwd ?? folder,
      // Servers in tests run side by side: HTTP, whose port is one for the machine, is there only where a test wants it.
      env: { MORENDO_HTTP__LISTEN: "[]", ...process.env, ...options.env },
      stdio: ["pipe", "pipe", "pipe"],
    });
    living.add(this);
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.#output = (this.#output + text).slice(-2_000_000);
      });
    }
    // The server may be gone when its input is closed; its exit is what counts.
    this.#child.stdin?.on("error", () => undefined);
    this.exited = new Promise((resolve) => {
      const finish = (code: number | null, signal: NodeJS.Signals | null): void => {
        this.exit = { code, signal, at: performance.now() };
        resolve(this.exit);
      };
      this.#child.once("exit", finish);
      this.#child.once("error", (error) => {
        this.#output += `\n${error.message}`;
        finish(null, null);
      });
    });
  }

  /** The process id. Throws when the process could not be started. */
  get pid(): number {
    if (this.#child.pid === undefined) throw new Error(`${this.name} did not start: ${this.#output}`);
    return this.#child.pid;
  }

  /** Everything the process wrote, and its log files. */
  get log(): string {
    return [this.#output, ...this.#logFiles.map(readIfThere)].join("\n");
  }

  /** Writes a line to the standard input of the process. */
  tell(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  /** Sends a signal; does nothing when the process is gone. */
  signal(signal: NodeJS.Signals): void {
    if (this.exit === undefined) this.#child.kill(signal);
  }

  /** Waits until `condition` holds; throws with the end of the log when the process ends or the time is over. */
  async until(condition: () => boolean | Promise<boolean>, what: string, timeoutMs = 40_000): Promise<void> {
    const limit = performance.now() + timeoutMs;
    while (!(await condition())) {
      if (this.exit !== undefined) throw new Error(`${this.name} ended before ${what}:\n${this.log.slice(-4000)}`);
      if (performance.now() > limit) throw new Error(`${this.name}: no ${what} in time:\n${this.log.slice(-4000)}`);
      await sleep(20);
    }
  }

  /** Waits until something listens on each of the ports. */
  async listening(address: string, ports: readonly number[]): Promise<void> {
    for (const port of ports) await this.until(() => accepts(address, port), `listener on ${address}:${port}`);
  }

  /** Ends the process: SIGTERM, and SIGKILL when it is still there after `graceMs`; then deletes its folder. */
  async stop(graceMs = 3_000): Promise<Exit> {
    this.signal("SIGTERM");
    const timer = setTimeout(() => this.signal("SIGKILL"), graceMs);
    const exit = await this.exited;
    clearTimeout(timer);
    living.delete(this);
    if (process.env.MORENDO_KEEP_LOGS === undefined) rmSync(this.folder, { recursive: true, force: true });
    return exit;
  }

  /** Kills the process without waiting; for the runner's own end. */
  abandon(): void {
    this.signal("SIGKILL");
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Waits on the machine's clock. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function accepts(address: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
