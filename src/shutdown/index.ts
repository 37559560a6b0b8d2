/**
 * `morendo/shutdown`: the shutdown pipeline as a library. It knows nothing of XMPP or sockets; give it the names of your
 * phases and attach what has to be done in each. A complete program:
 *
 * ```ts
 * import {
 *   Lifecycle, leave, listenToSignals, showProgress, silentLog, systemClock, systemRandom, ThreadWatchdog,
 * } from "morendo/shutdown";
 *
 * const lifecycle = new Lifecycle({
 *   plan: [
 *     { name: "stop-accepting", floorMs: 500, ceilingMs: 5_000 },
 *     { name: "drain", floorMs: 2_000, ceilingMs: 20_000 },
 *     { name: "quit", floorMs: 1_000, ceilingMs: 5_000 },
 *   ],
 *   clock: systemClock,
 *   random: systemRandom,
 *   log: silentLog,
 *   budgetMs: 25_000,
 *   hurryMs: 2_000,
 *   watchdog: new ThreadWatchdog({ log: silentLog, graceMs: 2_000, reportFile: "data/watchdog.json" }),
 *   reportDir: "data",
 * });
 * listenToSignals({ lifecycle, clock: systemClock, log: silentLog });
 * showProgress({ lifecycle, clock: systemClock, write: (text) => process.stderr.write(text), isTerminal: false });
 * lifecycle.on("report", (report) => leave({ code: report.exitCode, log: silentLog }));
 *
 * await lifecycle.start(async (signal) => {
 *   const server = await listen(signal);
 *   lifecycle.attach("stop-accepting", { name: "listener", run: () => server.close() });
 *   lifecycle.attach("drain", {
 *     name: "jobs",
 *     timeoutMs: 10_000,
 *     run: async ({ lease, signal, progress }) => { … },
 *   });
 * });
 * ```
 *
 * A run ends for one of three reasons: everything is done, the budget is used up, or the watchdog kills the process
 * because the event loop did not turn. In the first two cases there is a `DrainReport`.
 *
 * With `lifecycle.onSuspend({ name, prepare, suspend, resume })` a part takes part in `lifecycle.suspend`, which brings the
 * program to stand still without ending it, until `lifecycle.resume`.
 *
 * With `pointOfNoReturn: "drain"` a stop can be cancelled as long as `drain` has not begun: `lifecycle.cancel({ reason,
 * trigger })` lets every participant that had begun take back what it did (`cancelled: () => server.listen()`), and the
 * program runs on. The event is then `cancelled`, not `report`, so that a program which leaves at `report` stays.
 */

export { type Clock, systemClock, type Timer } from "../util/clock.ts";
export { MorendoError } from "../util/errors.ts";
export { type Logger, silentLog } from "../util/log.ts";
export { type Random, systemRandom } from "../util/random.ts";
export { Budget, type BudgetOptions } from "./budget.ts";
export { EXIT_CODES, type ExitCode, exitCode, outcomeOf, type RunOutcome } from "./exit-codes.ts";
export { Leases } from "./leases.ts";
export { Lifecycle } from "./lifecycle.ts";
export type * from "./lifecycle-types.ts";
export { type LoopDelay, measureLoopDelay } from "./loop-delay.ts";
export { type ExitPort, type LeaveOptions, leave, loopHolders } from "./loop-holders.ts";
export {
  type DestinationTotals,
  type FateTotals,
  type ObligationReport,
  Obligations,
  type ObligationsOptions,
} from "./obligations.ts";
export type { PhaseProgress } from "./phase-progress.ts";
export type { PhaseEvent } from "./pipeline.ts";
export { describeCount, logProgress, type ProgressLogOptions } from "./progress-log.ts";
export { showProgress, type TerminalOptions } from "./progress-terminal.ts";
export type * from "./report.ts";
export { readLastReport, writeReport } from "./report-file.ts";
export { describeReport } from "./report-text.ts";
export { listenToSignals, type ProcessPort, type SignalOptions, type Stoppable } from "./signals.ts";
export type * from "./suspend-types.ts";
export type * from "./types.ts";
export { noWatchdog, ThreadWatchdog, type ThreadWatchdogOptions, type Watchdog } from "./watchdog.ts";
export type { WatchdogReport } from "./watchdog-worker.ts";
