// Options of commands that hold for several: durations, and what can be said of the time before a stop.

import { InvalidArgumentError } from "commander";
import { parseDuration } from "../util/units.ts";

/** Reads an option that is a duration. */
export function readDuration(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined) throw new InvalidArgumentError('expected a duration such as "30s"');
  return ms;
}

/** Reads an option that is the most time something may take: none is no duration for that. */
export function readTimeLimit(text: string): number {
  const ms = readDuration(text);
  if (ms < 1) throw new InvalidArgumentError('expected a duration such as "30s", and more than none');
  return ms;
}

/** What can be said of the time before. */
export interface ScheduleOptions {
  readonly delay?: number;
  readonly announce?: string;
}

/** Returns it as the operation takes it. */
export function scheduleArguments({ delay, announce }: ScheduleOptions): object {
  return {
    ...(delay === undefined ? {} : { delayMs: delay }),
    ...(announce === undefined ? {} : { announcement: announce }),
  };
}
