// What systemd is told of this server, and when: the wiring between the server's life and the notifier. How messages get
// there is in src/control/systemd-notify.ts; config/systemd/ has the units. Without systemd all of it does nothing.

import { SystemdNotifier, type SystemdOptions } from "../control/systemd-notify.ts";
import type { Server } from "../server/server.ts";
import type { PhaseProgress } from "../shutdown/phase-progress.ts";
import { describeCount } from "../shutdown/progress-log.ts";
import type { Timer } from "../util/clock.ts";

/** What the variables of a service manager said of this process; they are read, and changed for those whom it starts. */
export interface ManagedProcess {
  /** How often systemd wants to hear that the service is alive (WatchdogSec), in milliseconds. */
  readonly watchdogMs: number | undefined;
  /** This process is the service's main one, and there is no way to tell systemd of another. */
  readonly isUntold: boolean;
}

/**
 * Reads what systemd says in the environment of this process (sd_watchdog_enabled(3), systemd.exec(5)). WATCHDOG_PID is
 * taken out: it names the first main process, and its successors, `isSuccessor`, watch in its place.
 */
export function readManager(
  environment: Record<string, string | undefined>,
  { pid, isSuccessor }: { readonly pid: number; readonly isSuccessor: boolean },
): ManagedProcess {
  const { WATCHDOG_USEC, WATCHDOG_PID, NOTIFY_SOCKET = "", SYSTEMD_EXEC_PID } = environment;
  const isForUs = WATCHDOG_PID === undefined ? isSuccessor : WATCHDOG_PID === String(pid);
  delete environment.WATCHDOG_PID;
  if (!isForUs) delete environment.WATCHDOG_USEC;
  const microseconds = /^[1-9]\d{0,15}$/.test(WATCHDOG_USEC ?? "") ? Number(WATCHDOG_USEC) : undefined;
  return {
    watchdogMs: isForUs && microseconds !== undefined ? microseconds / 1_000 : undefined,
    isUntold: NOTIFY_SOCKET === "" && SYSTEMD_EXEC_PID === String(pid),
  };
}

/** What the wiring joins. */
export interface SystemdWiring extends SystemdOptions {
  readonly server: Pick<Server, "lifecycle" | "isSuperfluous" | "passedTo" | "on">;
  readonly manager: ManagedProcess;
  /** There is a keeper: it is the service's main process, and stays it. */
  readonly isKept: boolean;
  /** How long after its deadline the server kills itself at the latest, in milliseconds. */
  readonly graceMs: number;
}

/** Tells systemd of one process of the server. */
export class Systemd {
  #wiring: SystemdWiring;
  #notifier: SystemdNotifier;
  #serving = "";
  #isStopping = false;
  /** What was last seen of the run. */
  #seen = "";
  #beat: Timer | undefined;

  constructor(wiring: SystemdWiring) {
    this.#wiring = wiring;
    this.#notifier = new SystemdNotifier(wiring);
    const { server } = wiring;
    if (!this.#notifier.isHeard) return;
    if (this.#maySpeak) this.#notifier.status("starting");
    server.on("state", ({ state, request }) => {
      if (!this.#maySpeak) return;
      this.#seen = "";
      if (request !== undefined && state !== "stopped") this.#notifier.status(`${state}: ${request.reason}`);
      else if (state === "running" && this.#serving !== "") this.#notifier.status(this.#serving);
    });
    server.on("phase", ({ phase, status }) => {
      if (!this.#maySpeak) return;
      if (status === "started") this.#notifier.status(phase);
      this.#stoppingForGood();
    });
    server.on("progress", (progress) => this.#progress(progress));
    server.on("cancelled", () => {
      this.#seen = "";
      this.#notifier.status(this.#serving);
    });
  }

  /** The server serves, as the first or as a successor. `status` is what `systemctl status` shows. */
  ready(status: string): void {
    this.#serving = status;
    this.#notifier.ready(status);
    this.#watch();
  }

  /** The configuration is being read anew: `reloaded` follows. */
  reloading(): void {
    if (this.#maySpeak && this.#serving !== "") this.#notifier.reloading();
  }

  /** The reload is over, and the service goes on, whether with the new configuration or the old: `failure` says why. */
  reloaded(failure?: string): void {
    if (!this.#maySpeak || this.#serving === "") return;
    this.#notifier.ready(
      failure === undefined ? this.#serving : `${this.#serving}; the last reload failed: ${failure}`,
    );
  }

  /** The server is there, and suspended. */
  suspended(reason: string): void {
    if (this.#maySpeak) this.#notifier.status(`suspended: ${reason}`);
  }

  /**
   * A restart is about to begin. Resolves to why it must not, if so: the end of this process would be taken for the end of
   * the service, because systemd cannot be told of the process that takes its place.
   */
  async whyNotRestart(): Promise<string | undefined> {
    const { isKept, manager } = this.#wiring;
    if (isKept) return undefined;
    if (manager.isUntold) {
      return "systemd would take the end of this process for the service's: set Type=notify and NotifyAccess=all in its unit, or start it with --keeper";
    }
    if (!this.#notifier.isHeard) return undefined;
    this.#notifier.status("handing over to a new process");
    await this.#notifier.flush();
    const { failure } = this.#notifier;
    return failure === undefined ? undefined : `systemd cannot be told of the new process: ${failure}`;
  }

  /** The restart has failed: this process goes on. */
  goesOn(why: string): void {
    if (this.#maySpeak) this.#notifier.status(`${this.#serving}; the last restart failed: ${why}`);
  }

  /** Another process has taken this one's place. It speaks from now on, and this one does not, also not of its own end. */
  passedOn(pid: number): void {
    this.#beat?.cancel();
    // With a keeper the main process stays what it was.
    if (!this.#wiring.isKept) this.#notifier.mainPid(pid);
  }

  /** Resolves when everything has been told, or could not be: before the process ends. */
  async end(): Promise<void> {
    this.#beat?.cancel();
    await this.#notifier.flush();
  }

  /** Whether the service is this process's: a successor before it serves and a predecessor after it has served are silent. */
  get #maySpeak(): boolean {
    const { server } = this.#wiring;
    return !server.isSuperfluous && server.passedTo === undefined;
  }

  /**
   * Told only when there is no way back: systemd itself knows none, and would kill a server that came back from a stop it
   * had announced (TimeoutStopSec).
   */
  #stoppingForGood(): void {
    if (this.#isStopping || !this.#wiring.server.lifecycle.isPastNoReturn) return;
    this.#isStopping = true;
    this.#notifier.stopping();
  }

  #progress(progress: PhaseProgress): void {
    if (!this.#maySpeak) return;
    const text = describeCount(progress);
    if (text === this.#seen) return;
    this.#seen = text;
    this.#notifier.status(text);
    // Something has moved on, so it is worth waiting for as long as the server itself would.
    const { lifecycle } = this.#wiring.server;
    const { graceMs } = this.#wiring;
    if (lifecycle.remaining !== undefined) this.#notifier.extendTimeout(lifecycle.remaining + graceMs);
  }

  /** Says that the server is alive, for as long as the event loop turns. */
  #watch(): void {
    const { watchdogMs } = this.#wiring.manager;
    if (watchdogMs === undefined || !this.#notifier.isHeard) return;
    this.#notifier.watchdog();
    // Half of the time, as sd_watchdog_enabled(3) advises.
    this.#beat = this.#wiring.clock.setTimer(watchdogMs / 2, () => this.#watch());
  }
}
