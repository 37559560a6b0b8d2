// What an operation tells as fields of a form: with names for programs, which are the paths in the result, and labels for people.

import { type FormField, z } from "../../src/module.ts";

/** How many fields a result has at most. */
const MAX_FIELDS = 50;
/** How deep it is looked; below the second level only for what has a label here. */
const MAX_DEPTH = 3;

const LABELS: Readonly<Record<string, string>> = {
  state: "State",
  startedAt: "Began at",
  version: "Version",
  pid: "Process",
  hosts: "Hosts",
  listening: "Listening",
  sessions: "Sessions",
  hibernating: "Sessions that wait for their clients",
  resumable: "Sessions that can be resumed",
  connections: "Connections of clients",
  "s2s.outgoing": "Streams to other servers",
  "s2s.incoming": "Streams from other servers",
  "s2s.queued": "Stanzas waiting for other servers",
  "journal.mode": "Journal: what is kept",
  "journal.waiting": "Journal: stanzas waiting on the disk",
  "journal.size": "Journal: their size in characters",
  "journal.oldestMs": "Journal: the oldest has waited, in milliseconds",
  phase: "Phase",
  remainingMs: "Time left, in milliseconds",
  cause: "What it was",
  reason: "Reason",
  trigger: "Asked for by",
  error: "Fault",
  durationMs: "Time taken, in milliseconds",
  budgetMs: "Time there was, in milliseconds",
  startupMs: "Time waited for the start to end, in milliseconds",
  "delay.askedMs": "Delay asked for, in milliseconds",
  "delay.tookMs": "Delay taken, in milliseconds",
  "delay.announcement": "What users were told",
  "delay.cut.why": "Why the delay was shorter",
  hurried: "Was told to hurry",
  skippedToEnd: "Was told to skip to the last phase",
  phases: "Phases",
  "obligations.run.proved": "Stanzas proved to have arrived",
  "obligations.run.stored": "Stanzas stored",
  "obligations.run.returned": "Stanzas returned to their senders",
  "obligations.run.dropped": "Stanzas dropped, because they are of no use later",
  "obligations.run.lost": "Stanzas lost",
  "cancelled.reason": "Why it was cancelled",
  "cancelled.trigger": "Cancelled by",
  outcome: "Outcome",
  exitCode: "Exit code",
  applied: "Options in force now",
  restart: "Options that need a restart",
  certificates: "Certificates that changed",
  "modules.loaded": "Modules loaded",
  "modules.unloaded": "Modules unloaded",
  "modules.reloaded": "Modules reloaded",
};

/** What says nothing to people. */
const LEFT_OUT: ReadonlySet<string> = new Set(["id", "repeatedCount", "cancelled.atMs", "delay.cut.atMs"]);

/** What is told of things that are done one after the other. */
const step = z.object({ name: z.string(), outcome: z.string(), durationMs: z.number() });

/** Returns what there is to show, bounded in number and depth. */
export function fieldsOf(result: unknown): FormField[] {
  const fields: FormField[] = [];
  const add = (path: string, value: unknown, depth: number): void => {
    if (fields.length === MAX_FIELDS || LEFT_OUT.has(path)) return;
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      if (depth === MAX_DEPTH) return;
      for (const [name, inner] of Object.entries(value)) add(path === "" ? name : `${path}.${name}`, inner, depth + 1);
      return;
    }
    const label = LABELS[path] ?? (depth < MAX_DEPTH ? labelOf(path) : undefined);
    const texts = Array.isArray(value) ? value.map(textOf) : [textOf(value)];
    if (label === undefined || texts.includes(undefined)) return;
    if (texts.length === 0) return;
    const type = Array.isArray(value) ? "text-multi" : "text-single";
    fields.push({ name: path, type, label, value: texts as string[] });
  };
  add("", result, 0);
  return fields;
}

/** `suspension.timeoutMs` becomes "Suspension: timeout in milliseconds". */
function labelOf(path: string): string {
  const words = path
    .replace(/Ms$/, " in milliseconds")
    .replaceAll(".", ": ")
    .replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** A simple value, or a step, as people read it. */
function textOf(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") return String(value);
  const { data } = step.safeParse(value);
  return data && `${data.name}: ${data.outcome} in ${Math.round(data.durationMs)} ms`;
}
