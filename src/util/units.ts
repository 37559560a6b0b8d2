// Durations and sizes as people write them in a configuration file: "30s", "5m", "256KiB".

const DURATION_UNITS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const SIZE_UNITS: Record<string, number> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

/** Returns the milliseconds of a text such as `"250ms"` or `"1.5h"`, or undefined when it is not a duration. */
export function parseDuration(text: string): number | undefined {
  return parse(text, DURATION_UNITS);
}

/** Returns the bytes of a text such as `"64KiB"`, or undefined when it is not a size. */
export function parseSize(text: string): number | undefined {
  return parse(text, SIZE_UNITS);
}

/** Returns milliseconds as a short text for people: `"850ms"`, `"2.4s"`, `"3m 20s"`. */
export function formatDuration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)}ms`;
  if (ms < 60_000) return `${Number((ms / 1_000).toFixed(1))}s`;
  const seconds = Math.round(ms / 1_000);
  const hours = Math.floor(seconds / 3_600);
  const minutes = Math.floor(seconds / 60) % 60;
  const parts = [hours && `${hours}h`, minutes && `${minutes}m`, seconds % 60 && `${seconds % 60}s`];
  return parts.filter(Boolean).join(" ");
}

function parse(text: string, units: Record<string, number>): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([A-Za-z]+)$/.exec(text.trim());
  const factor = match?.[2] === undefined ? undefined : units[match[2]];
  return match && factor !== undefined ? Math.round(Number(match[1]) * factor) : undefined;
}
