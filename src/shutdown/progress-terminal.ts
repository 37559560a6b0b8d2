// A reader of a lifecycle's events for people at a terminal: a live list of the phases, rewritten in place; plain lines
// where the output is not a terminal.

import type { Clock } from "../util/clock.ts";
import { formatDuration } from "../util/units.ts";
import type { Lifecycle } from "./lifecycle.ts";
import type { LifecycleEvents } from "./lifecycle-types.ts";
import type { PhaseProgress } from "./phase-progress.ts";
import { describeCount } from "./progress-log.ts";
import type { PhaseReport } from "./report.ts";
import { describeReport } from "./report-text.ts";

export interface TerminalOptions<Phase extends string> {
  readonly lifecycle: Pick<Lifecycle<Phase>, "on">;
  readonly clock: Clock;
  /** Puts text on the terminal. */
  readonly write: (text: string) => void;
  /** Whether the output is a terminal that can be rewritten. */
  readonly isTerminal: boolean;
  /** The width of the terminal in columns; lines are cut to it (80 unless told). */
  readonly columns?: () => number;
  /** Whether changes of the state are told as well. */
  readonly showsStates?: boolean;
  /** The least time between two pictures, or two plain lines of progress times ten (100 ms unless told). */
  readonly everyMs?: number;
}

interface Row {
  readonly phase: string;
  report: PhaseReport | undefined;
  progress: PhaseProgress | undefined;
}

/** Shows the progress of a run; the returned function stops that. */
export function showProgress<Phase extends string>(options: TerminalOptions<Phase>): () => void {
  const makeView = (): View => (options.isTerminal ? new LiveView(options) : new PlainView(options));
  let view = makeView();
  const { lifecycle } = options;
  const unsubscribe = [
    lifecycle.on("state", ({ state, request }) => {
      if (options.showsStates !== true) return;
      const why = request === undefined ? "" : ` (${request.cause}, ${request.trigger}: ${request.reason})`;
      options.write(`${printable(`state: ${state}${why}`)}\n`);
      // What comes is shown below that line.
      view = makeView();
    }),
    lifecycle.on("phase", (event) => view.onPhase(event)),
    lifecycle.on("progress", (progress) => view.onProgress(progress)),
    lifecycle.on("report", (report) => options.write(`${describeReport(report)}\n`)),
    lifecycle.on("cancelled", (report) => {
      options.write(`${describeReport(report)}\n`);
      // The next run gets a picture of its own.
      view = makeView();
    }),
  ];
  return () => {
    for (const off of unsubscribe) off();
  };
}

type View = Pick<LiveView, "onPhase" | "onProgress">;

/** One line per phase, and now and then one of progress: `[3/5 1.2s] drain-s2s: 12/40, waiting for b.test, c.test`. */
class PlainView implements View {
  #options: Pick<TerminalOptions<string>, "clock" | "write" | "everyMs">;
  #startedAt: number | undefined;
  #lastAt = 0;
  #lastText = "";

  constructor(options: Pick<TerminalOptions<string>, "clock" | "write" | "everyMs">) {
    this.#options = options;
  }

  onPhase(event: LifecycleEvents["phase"]): void {
    const now = this.#options.clock.now();
    this.#startedAt ??= now;
    this.#lastAt = now;
    if (event.status === "started") return;
    const { outcome, durationMs } = event.report;
    this.#line(event, `${event.phase}: ${outcome} in ${formatDuration(durationMs)}`);
  }

  onProgress(progress: PhaseProgress): void {
    const now = this.#options.clock.now();
    const text = describeCount(progress);
    if (text === this.#lastText || now - this.#lastAt < 10 * (this.#options.everyMs ?? 100)) return;
    this.#lastAt = now;
    this.#lastText = text;
    this.#line(progress, `${text} (${describeLeft(progress)})`);
  }

  #line({ step, steps }: { readonly step: number; readonly steps: number }, text: string): void {
    const elapsed = formatDuration(this.#options.clock.now() - (this.#startedAt ?? 0));
    this.#options.write(`[${step}/${steps} ${elapsed}] ${printable(text)}\n`);
  }
}

/** All phases so far, the current one with its count, blockers and the time it has left. */
class LiveView {
  #options: Omit<TerminalOptions<string>, "lifecycle" | "isTerminal">;
  #rows: Row[] = [];
  #steps = 0;
  #drawn = 0;
  #lastAt = Number.NEGATIVE_INFINITY;

  constructor(options: Omit<TerminalOptions<string>, "lifecycle" | "isTerminal">) {
    this.#options = options;
  }

  onPhase(event: LifecycleEvents["phase"]): void {
    this.#steps = event.steps;
    const row = this.#rowOf(event.phase);
    if (event.status === "ended") row.report = event.report;
    this.#draw();
  }

  onProgress(progress: PhaseProgress): void {
    this.#steps = progress.steps;
    // The steps of a suspension have no events of their own.
    this.#rowOf(progress.phase).progress = progress;
    const isSoon = this.#options.clock.now() - this.#lastAt < (this.#options.everyMs ?? 100);
    if (!isSoon) this.#draw();
  }

  #rowOf(phase: string): Row {
    let row = this.#rows.find((one) => one.phase === phase);
    if (row === undefined) {
      row = { phase, report: undefined, progress: undefined };
      this.#rows.push(row);
    }
    return row;
  }

  #draw(): void {
    this.#lastAt = this.#options.clock.now();
    const columns = Math.max(20, this.#options.columns?.() ?? 80);
    // Up to the first line of the old picture, and clear from there to the end of the screen.
    const back = this.#drawn === 0 ? "" : `\x1b[${this.#drawn}A\r\x1b[J`;
    const lines = this.#rows.map((row, index) => this.#describe(row, index + 1).slice(0, columns - 1));
    this.#drawn = lines.length;
    this.#options.write(`${back}${lines.map((line) => `${line}\n`).join("")}`);
  }

  #describe({ phase, report, progress }: Row, step: number): string {
    const head = `[${step}/${this.#steps}]`;
    if (report !== undefined) return `${head} ${phase}: ${report.outcome} in ${formatDuration(report.durationMs)}`;
    if (progress === undefined) return `${head} ${phase}`;
    return printable(`${head} ${describeCount(progress)} (${describeLeft(progress)})`);
  }
}

/** The time that the phase has left, and the whole run if that is another. */
function describeLeft({ remainingMs, leftMs }: PhaseProgress): string {
  const left = `${formatDuration(remainingMs)} left`;
  const inAll = leftMs === undefined ? "" : formatDuration(leftMs);
  return inAll === "" || `${inAll} left` === left ? left : `${left}, ${inAll} in all`;
}

/** Names come from the network: nothing in them may steer the terminal. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}]/gu, "?");
}
