/**
 * `morendo/handover`: a running process hands its service over to a successor, listening sockets and state and all, or
 * goes on as if nothing had happened. Knows nothing of XMPP.
 *
 * **The life of a restart.** `P` is the predecessor, `S` the successor; each line names the step in which `P` is.
 *
 * | step | P | S |
 * |---|---|---|
 * | `spawn` | `Handover.run`: starts S with the listening sockets and a channel | `inheritance()` |
 * | `hello` | serves on | reads its configuration, makes everything that needs no state; then `receiveState()` |
 * | `freeze` | agrees on the versions of the state; calls `freeze`: from here on nothing changes the state | waits |
 * | `state` | writes the snapshot | reads it, item by item, each judged by its section's reader |
 * | `prepared` | waits | takes the state in, does all that can fail; then `prepared()` |
 * | `serving` | consents; waits | opens its listeners, lets nobody in yet; then `serving()` |
 * | – | passes the service on: **no way back**; `run` resolves `ok` | `serving()` resolves: serves |
 * | – | releases its listeners, goes down; what still comes to it and is S's affair goes to S by `relay` | takes it over |
 *
 * **Who serves.** Until `freeze` P serves and notices nothing: S may crash, hang or refuse. From `freeze` to the end
 * nobody serves, which the limits keep short; whatever goes wrong there, S is killed, `thaw` is called and P serves on.
 * After its consent P waits for the death of S before it calls `thaw`, so that never two serve. When P dies before S has the
 * whole state, S is told so by `receiveState` and may start plainly, on the same listeners. When P dies after that, S
 * goes on by itself (`orphaned`). When P calls the restart off, it says so before it lets go of the channel: S never takes a
 * P that has changed its mind for one that has died. When S dies after the service was passed on, nobody serves: that is a
 * crash like any other, and for a service manager or the keeper to see.
 *
 * **Who knows.** `run` resolves with the outcome: the new pid, or the step that failed and why. S tells why by `failed`, and if
 * it cannot even do that (a missing file, a syntax error), a few lines that Node runs before the program do. One restart
 * at a time: a second one is refused with the reason.
 *
 * **What is inherited.** Descriptor 3 is the channel, 4 and on are the listeners; the environment variable
 * `MORENDO_HANDOVER` says which is which. `inheritance` removes it. Node opens everything close-on-exec and makes what
 * it inherits so as well: processes that S starts get none of it, and no generation has more descriptors than the last.
 *
 * **Whose child.** A successor is its predecessor's child and outlives it. Where a process id has to stay the same (PID 1
 * of a container), `keep` runs the server as a child of a small parent, and `keptSpawn` lets that one start the successors.
 *
 * The predecessor:
 *
 * ```ts
 * const handover = new Handover({ clock: systemClock, log });
 * const outcome = await handover.run({
 *   command: sameCommand(process),
 *   listeners: [{ name: "web", fd }],
 *   offers: [{ name: "sessions", versions: [1, 2], required: true }],
 *   freeze: (versions) => [{ name: "sessions", items: snapshot(versions.get("sessions")) }],
 *   thaw: () => goOn(),
 * });
 * if (outcome.ok) goDown();
 * else log.error(outcome, "no restart");
 * ```
 *
 * The successor:
 *
 * ```ts
 * const inherited = inheritance({ environment: process.env, clock: systemClock });
 * // … configuration, certificates, modules …
 * if (inherited !== undefined) {
 *   const state = await inherited.receiveState({ sessions: { versions: [2], read: (value) => parseSession(value) } });
 *   if (state.complete) takeIn(state.sections.sessions?.items ?? []);
 *   await inherited.prepared();
 *   openListeners(inherited.listeners);
 *   await inherited.serving();
 *   letEverybodyIn();
 * }
 * ```
 *
 * Each step throws when the restart must not go on; the process then ends without having served. If something of the
 * successor's own fails in between, it calls `inherited.failed(error)` and ends.
 */

export { type Clock, systemClock, type Timer } from "../util/clock.ts";
export { MorendoError } from "../util/errors.ts";
export { type Logger, silentLog } from "../util/log.ts";
export { activatedListeners } from "./activation.ts";
export { closeListener } from "./descriptors.ts";
export {
  type Consent,
  Inheritance,
  type InheritanceOptions,
  inheritance,
  type ReceivedSection,
  type ReceivedSections,
  type ReceivedState,
  type SectionReader,
  type SectionReaders,
} from "./inheritance.ts";
export { type KeeperOptions, type KeeperPort, keep } from "./keeper.ts";
export { isKept, type KeptPort, keptSpawn } from "./kept-process.ts";
export {
  DEFAULT_LIMITS,
  Handover,
  type HandoverLimits,
  type HandoverOptions,
  type HandoverOutcome,
  type HandoverPlan,
  type HandoverStep,
} from "./predecessor.ts";
export type { AcceptedSection, HandoverErrorKind } from "./protocol.ts";
export type { Relay, Take } from "./relay.ts";
export type { OfferedSection, StateSection } from "./state.ts";
export {
  type PassedListener,
  type ProcessEnd,
  type SpawnSuccessor,
  type SuccessorCommand,
  type SuccessorProcess,
  sameCommand,
  spawnSuccessor,
} from "./successor-process.ts";
