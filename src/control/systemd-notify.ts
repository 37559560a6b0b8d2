// Tells systemd how the service is: sd_notify(3) over NOTIFY_SOCKET. Nobody waits for it and nothing fails because of it.
// Not for: deciding what is worth telling.
//
// Node has no datagram sockets of the Unix kind. The package `koffi`, where it is installed, lets us call libsystemd; else the
// program `systemd-notify` is run for each message. That one is another process than the service's main one, and so is a
// successor until systemd has heard MAINPID: the unit needs `NotifyAccess=all` (`exec` does not cover the program, `main` not
// the successor either). After `mainPid` a predecessor must not say `stopping`: systemd would take it for the service's end.

import { execFile } from "node:child_process";
import type { Clock, Timer } from "../util/clock.ts";
import { asError } from "../util/errors.ts";
import type { Logger } from "../util/log.ts";

/** Sends one message, which may have several assignments, one per line. Rejects when it could not be sent. */
export type SendToSystemd = (message: string) => Promise<void>;

/** What a notifier is made of. */
export interface SystemdOptions {
  /** Usually `process.env`; without NOTIFY_SOCKET in it nothing is sent. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly log: Logger;
  /** How messages are sent; the best way there is unless given. */
  readonly send?: SendToSystemd;
}

type Kind = "order" | "status" | "extend" | "watchdog";

interface Entry {
  readonly kind: Kind;
  readonly message: string;
}

/** Messages of these kinds replace one of their kind that still waits, and go out this often at most. */
const EVERY_MS: Readonly<Record<Kind, number>> = { order: 0, status: 500, extend: 500, watchdog: 500 };
const MAX_TEXT = 500;
const HELPER_MS = 10_000;
const HELPER = "systemd-notify";

/** Speaks to the service manager. Messages keep their order; a newer status overtakes an older one that has not been sent. */
export class SystemdNotifier {
  #clock: Clock;
  #log: Logger;
  #send: SendToSystemd | undefined;
  #queue: Entry[] = [];
  #sentAt = new Map<Kind, number>();
  #timer: Timer | undefined;
  #sending: Promise<void> | undefined;
  #isFlushing = false;
  #hasComplained = false;
  #failure: string | undefined;

  constructor({ environment, clock, log, send }: SystemdOptions) {
    this.#clock = clock;
    this.#log = log;
    if ((environment.NOTIFY_SOCKET ?? "") !== "") this.#send = send ?? bestWay(environment);
  }

  /** Tells whether there is somebody to be told. */
  get isHeard(): boolean {
    return this.#send !== undefined;
  }

  /** Why the last message could not be sent; undefined when it could. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** The service runs; also the end of a reload. `status` is shown by `systemctl status`. */
  ready(status?: string): void {
    this.#push("order", withStatus("READY=1", status));
  }

  /** The service goes down. Not for a predecessor whose successor serves. */
  stopping(status?: string): void {
    this.#push("order", withStatus("STOPPING=1", status));
  }

  /** The configuration is being read anew; `ready` follows (Type=notify-reload wants the time as well). */
  reloading(): void {
    const microseconds = process.hrtime.bigint() / 1_000n;
    this.#push("order", `RELOADING=1\nMONOTONIC_USEC=${microseconds}`);
  }

  /** The service's main process is another one from now on: to be sent, and `flush`ed, before this process ends. */
  mainPid(pid: number): void {
    this.#push("order", `MAINPID=${pid}`);
  }

  /** What the service is doing, for people. */
  status(text: string): void {
    this.#push("status", `STATUS=${oneLine(text)}`);
  }

  /** Start or stop may take this much longer from now on. Has to be said again before it is over. */
  extendTimeout(ms: number): void {
    this.#push("extend", `EXTEND_TIMEOUT_USEC=${Math.round(ms * 1_000)}`);
  }

  /** The service is alive (WatchdogSec). */
  watchdog(): void {
    this.#push("watchdog", "WATCHDOG=1");
  }

  /** Sends all that waits without delay; resolves when it has been sent, or could not be. Never rejects. */
  async flush(): Promise<void> {
    this.#isFlushing = true;
    this.#pump();
    while (this.#sending !== undefined) await this.#sending;
    this.#isFlushing = false;
  }

  #push(kind: Kind, message: string): void {
    if (this.#send === undefined) return;
    if (kind !== "order") this.#queue = this.#queue.filter((entry) => entry.kind !== kind);
    this.#queue.push({ kind, message });
    this.#pump();
  }

  #pump(): void {
    if (this.#sending !== undefined) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    const now = this.#clock.now();
    let soonest = Number.POSITIVE_INFINITY;
    for (const [index, entry] of this.#queue.entries()) {
      const wait = this.#isFlushing ? 0 : (this.#sentAt.get(entry.kind) ?? -Infinity) + EVERY_MS[entry.kind] - now;
      if (wait <= 0) {
        this.#queue.splice(index, 1);
        this.#sending = this.#sendNow(entry);
        return;
      }
      soonest = Math.min(soonest, wait);
    }
    if (this.#queue.length > 0) this.#timer = this.#clock.setTimer(soonest, () => this.#pump());
  }

  async #sendNow({ kind, message }: Entry): Promise<void> {
    this.#sentAt.set(kind, this.#clock.now());
    try {
      await this.#send?.(message);
      this.#failure = undefined;
    } catch (thrown) {
      this.#failure = asError(thrown).message;
      if (!this.#hasComplained) {
        this.#log.warn({ error: asError(thrown).message, message }, "systemd could not be told; this is said once");
      }
      this.#hasComplained = true;
    }
    this.#sending = undefined;
    this.#pump();
  }
}

/** Sends by libsystemd if `koffi` is installed, and else by the program `systemd-notify`. */
function bestWay(environment: SystemdOptions["environment"]): SendToSystemd {
  const byLibrary = loadLibrary();
  return async (message) => {
    const send = (await byLibrary) ?? ((text: string) => runHelper(text, environment));
    await send(message);
  };
}

async function loadLibrary(): Promise<SendToSystemd | undefined> {
  // Not a dependency: whoever installs it beside the server spares a process for each message.
  const name: string = "koffi";
  try {
    const { default: koffi } = (await import(name)) as { default: Koffi };
    const notify = koffi.load("libsystemd.so.0").func("int sd_notify(int unset, const char *state)");
    return async (message) => {
      const result = notify(0, message);
      if (result <= 0) throw new Error(`sd_notify returned ${result}`);
    };
  } catch {
    // Neither is a fault: the program does it as well.
    return undefined;
  }
}

interface Koffi {
  load(library: string): { func(prototype: string): (unset: number, state: string) => number };
}

function runHelper(message: string, env: SystemdOptions["environment"]): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile(HELPER, message.split("\n"), { env: { ...env }, timeout: HELPER_MS }, (error, _stdout, stderr) => {
      if (error === null) resolve();
      else reject(new Error(`${HELPER}: ${stderr.trim() || error.message}`));
    });
  });
}

function withStatus(message: string, status: string | undefined): string {
  return status === undefined ? message : `${message}\nSTATUS=${oneLine(status)}`;
}

/** A line break would begin another assignment. */
function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").slice(0, MAX_TEXT);
}
