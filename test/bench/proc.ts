// What a process and its children have cost so far, read from /proc (Linux only).

import { readdirSync, readFileSync } from "node:fs";

/** Clock ticks a second in /proc/PID/stat; the same on every Linux that Node runs on. */
const TICKS = 100;

/** Seconds of processor time, user and system, of a process and all its living and reaped children. */
export function cpuSeconds(pid: number): number {
  return tree(pid).reduce((sum, each) => sum + ownSeconds(each), 0);
}

/** Bytes of memory in use by the process and its children: each shared page is counted by its share (PSS). */
export function memoryBytes(pid: number): number {
  return tree(pid).reduce((sum, each) => {
    const pss = /^Pss:\s+(\d+) kB/m.exec(read(`/proc/${each}/smaps_rollup`))?.[1];
    return sum + Number(pss ?? 0) * 1024;
  }, 0);
}

function ownSeconds(pid: number): number {
  const stat = read(`/proc/${pid}/stat`);
  // The name in parentheses may hold anything; the numbers come after it, beginning with field 3.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return [11, 12, 13, 14].reduce((sum, index) => sum + Number(fields[index] ?? 0), 0) / TICKS;
}

function tree(pid: number): number[] {
  const children = threads(pid).flatMap((thread) => read(`/proc/${pid}/task/${thread}/children`).split(" "));
  return [pid, ...children.filter(Boolean).flatMap((child) => tree(Number(child)))];
}

function threads(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // A process that ended between two looks.
    return "";
  }
}
