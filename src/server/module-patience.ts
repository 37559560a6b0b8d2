// How long the loader waits for code of a module that reads its file or loads: it names what takes long, and at run time
// gives it up, so that one module cannot hold up those that are loaded after it.

import type { Clock } from "../util/clock.ts";
import { MorendoError } from "../util/errors.ts";
import type { Logger } from "../util/log.ts";
import type { LoadedModule } from "./loaded-module.ts";
import { type FoundModule, importModule } from "./module-finder.ts";
import type { ModuleSource } from "./module-resolver.ts";

interface Around {
  readonly clock: Clock;
  readonly log: Logger;
}

/** A module that is loaded while the server runs must have loaded after this time, or it is given up. */
export const LOAD_LIMIT_MS = 30_000;
/** During the start there is no such limit, because a module may have much to read; but it is named. */
const LOAD_SLOW_MS = 10_000;

/**
 * Reads the code of a module anew, as `importModule` does. Rejects with `MORENDO_MODULE_FAILED` when the file has not run
 * to its end within the limit.
 */
export async function importInTime(
  source: ModuleSource,
  edition: number,
  { clock, log }: Around,
): Promise<FoundModule> {
  const { entry } = source;
  const done = new AbortController();
  const importing = importModule(source, edition).finally(() => done.abort());
  const outOfTime = clock.sleep(LOAD_LIMIT_MS, done.signal).then(() => undefined);
  const found = await Promise.race([importing, outOfTime]);
  if (found !== undefined || done.signal.aborted) return importing;
  importing.catch((err: unknown) => log.warn({ err, entry }, "a module that was given up could not be read"));
  const message = `module "${entry}" cannot be read: its file has not run to its end after ${LOAD_LIMIT_MS / 1_000} seconds`;
  throw new MorendoError("MORENDO_MODULE_FAILED", message);
}

/** Waits for a module that loads; names one that takes long, and gives it up after `limitMs`, if given. */
export async function untilLoaded(
  module: LoadedModule,
  loading: Promise<void>,
  { clock, log }: Around,
  limitMs: number | undefined,
): Promise<void> {
  const done = new AbortController();
  const slow = clock.setTimer(LOAD_SLOW_MS, () => module.faults.hangs("load", LOAD_SLOW_MS));
  const end = loading.finally(() => done.abort());
  try {
    if (limitMs === undefined) await end;
    else {
      const isOver = await Promise.race([end.then(() => true), clock.sleep(limitMs, done.signal).then(() => false)]);
      if (isOver || done.signal.aborted) await end;
      else {
        end.catch((err: unknown) =>
          log.warn({ err, module: module.name }, "a module that was given up failed to load"),
        );
        throw new Error(`it has not loaded after ${limitMs / 1_000} seconds`);
      }
    }
  } finally {
    slow.cancel();
  }
}
