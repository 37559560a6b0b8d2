// What happens on behalf of a session that ends, or parts from its contacts for as long as the server is down: every module has its say (unavailable presence above all), none of them
// for longer than a limit, and then the end is told. Not for: the connection, which c2s closes afterwards.

import type { Notifier } from "../util/events.ts";
import type { Hooks } from "../util/hooks.ts";
import type { Logger } from "../util/log.ts";
import type { TimerWheel } from "../util/timer-wheel.ts";
import type { NotificationCatalogue, SessionEnding } from "./catalogue.ts";

export interface SessionEndingOptions {
  readonly hooks: Hooks;
  readonly notifications: Notifier<NotificationCatalogue>;
  readonly wheel: TimerWheel;
  readonly log: Logger;
  /** How long a module may take, in milliseconds. */
  readonly limitMs: number;
}

/** Runs the hook `session/ending` and resolves when all handlers are done or the limit has passed. Never rejects. */
export async function endSession(options: SessionEndingOptions, ending: SessionEnding): Promise<void> {
  const working = new Set(options.hooks.all("session/ending", ending));
  if (working.size > 0) {
    await new Promise<void>((resolve) => {
      const timeout = options.wheel.add(options.limitMs, () => {
        const modules = [...working].map(({ owner }) => owner);
        options.log.warn({ modules, jid: ending.session.jid.toString() }, "modules did not let a session end in time");
        resolve();
      });
      for (const handler of working) {
        void handler.settled.then(() => {
          working.delete(handler);
          if (working.size > 0) return;
          timeout.cancel();
          resolve();
        });
      }
    });
  }
  options.notifications.notify("session/ended", ending);
}

/**
 * Runs the hook `session/parting`; resolves when the handlers are done or the limit has passed, to whether the session may
 * go on. Never rejects.
 */
export async function partSession(
  { hooks, wheel, log, limitMs }: Omit<SessionEndingOptions, "notifications">,
  parting: SessionEnding,
): Promise<boolean> {
  const answer = hooks.run<"end">("session/parting", parting);
  if (!(answer instanceof Promise)) return answer !== "end";
  const { promise: late, cancel } = timeout(wheel, limitMs);
  const isLate = late.then(() => {
    log.warn({ jid: parting.session.jid.toString() }, "modules did not let a session part in time");
    return undefined;
  });
  const said = await Promise.race([answer, isLate]);
  cancel();
  return said !== "end";
}

function timeout(wheel: TimerWheel, ms: number): { readonly promise: Promise<void>; readonly cancel: () => void } {
  let cancel = (): void => undefined;
  const promise = new Promise<void>((resolve) => {
    const waiting = wheel.add(ms, resolve);
    cancel = () => waiting.cancel();
  });
  return { promise, cancel };
}
