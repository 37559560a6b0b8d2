// Time as a value that is passed around. Nothing else in the project reads the system's clocks or sets its timers, so
// that a test, or the simulation, can own time. Not for: calendars and formatting.

/** A pending timer. */
export interface Timer {
  /** Forgets the timer; does nothing once it has fired or was cancelled. */
  cancel(): void;
}

/** A source of time and of later moments. All durations are milliseconds. */
export interface Clock {
  /** Returns milliseconds on a clock that never goes back; only differences mean anything. */
  now(): number;
  /** Returns the calendar time, in milliseconds since 1970. It may jump. */
  wallTime(): number;
  /** Calls `fire` once, `ms` from now at the earliest. */
  setTimer(ms: number, fire: () => void): Timer;
  /** Resolves `ms` from now, or at once when `signal` aborts (it never rejects). */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Resolves after pending input and output had their turn: the way to give up the event loop inside a long sweep. */
  turn(): Promise<void>;
  /** Calls `run` once at the end of the current turn of the event loop, before the next input is read. */
  soon(run: () => void): void;
}

/** The longest delay the system's timers take; a longer one would fire at once. */
const MAX_DELAY_MS = 0x7fffffff;

/** The clock of the machine. Its timers keep the process alive until they fire or are cancelled. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wallTime: () => Date.now(),
  setTimer(ms, fire) {
    const handle = setTimeout(fire, Math.min(Math.max(ms, 0), MAX_DELAY_MS));
    return { cancel: () => clearTimeout(handle) };
  },
  sleep: (ms, signal) => sleepOn(systemClock, ms, signal),
  turn: () => new Promise((resolve) => setImmediate(resolve)),
  soon: (run) => {
    setImmediate(run);
  },
};

/** Builds `Clock.sleep` from a clock's `setTimer`. */
export function sleepOn(clock: Pick<Clock, "setTimer">, ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const finish = (): void => {
      timer.cancel();
      signal?.removeEventListener("abort", finish);
      resolve();
    };
    const timer = clock.setTimer(ms, finish);
    signal?.addEventListener("abort", finish);
  });
}

/** Calls `tick` every `everyMs` until the returned function is called. */
export function repeat(clock: Pick<Clock, "setTimer">, everyMs: number, tick: () => void): () => void {
  let timer: Timer;
  const again = (): void => {
    timer = clock.setTimer(everyMs, () => {
      again();
      tick();
    });
  };
  again();
  return () => timer.cancel();
}
