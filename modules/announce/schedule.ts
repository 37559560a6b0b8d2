// When an announced stop is told again, and how the time that is left reads. Times are milliseconds before the end.

/** The smallest time between two announcements, and the part of the whole time that lies between them at least. */
const GAP_MS = 5_000;
const GAP_SHARE = 0.1;

/**
 * Returns when to tell again, the earliest first, given that it is told now: half way, if wanted, and at the times in
 * `before`, each unless it comes too soon after the one before or before the next fixed one.
 */
export function repeats(leftMs: number, before: readonly number[], isHalfWay: boolean): number[] {
  const gap = Math.max(GAP_MS, leftMs * GAP_SHARE);
  const fixed = [...new Set(before)].filter((ms) => ms > 0 && ms <= leftMs - GAP_MS).sort((one, other) => other - one);
  const half = leftMs / 2;
  const isClear = fixed.every((ms) => Math.abs(ms - half) >= gap);
  const all = isHalfWay && isClear && half >= gap ? [...fixed, half] : fixed;
  const times: number[] = [];
  let last = leftMs;
  for (const ms of all.sort((one, other) => other - one)) {
    if (last - ms < GAP_MS) continue;
    times.push(ms);
    last = ms;
  }
  return times;
}

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Returns a time in words, such as `5 minutes` or `1 hour 30 minutes`; the longer, the rounder. */
export function inWords(ms: number): string {
  if (ms < 2 * MINUTE) return several(Math.max(1, Math.round(ms / SECOND)), "second");
  const minutes = Math.round(ms / MINUTE) * MINUTE;
  if (minutes < HOUR) return several(minutes / MINUTE, "minute");
  if (minutes < DAY) return pair(minutes, HOUR, "hour", MINUTE, "minute");
  return pair(Math.round(ms / HOUR) * HOUR, DAY, "day", HOUR, "hour");
}

function pair(ms: number, large: number, largeName: string, small: number, smallName: string): string {
  const rest = (ms % large) / small;
  const first = several(Math.floor(ms / large), largeName);
  return rest === 0 ? first : `${first} ${several(rest, smallName)}`;
}

function several(count: number, name: string): string {
  return `${count} ${name}${count === 1 ? "" : "s"}`;
}
