// What is measured, as families of metrics: the life cycle, sessions, other servers, stanzas and their fates, the process.
// Everything is read when it is asked for; nothing here costs anything in between. The text is written by exposition.ts.

import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Config } from "../../config/schema.ts";
import { isReady } from "../../server/readiness.ts";
import type { JournalStatus } from "../../server/s2s/journal.ts";
import type { Server } from "../../server/server.ts";
import { version } from "../../server/version.ts";
import type { FateTotals } from "../../shutdown/obligations.ts";
import type { DrainReport } from "../../shutdown/report.ts";
import type { LifecycleState } from "../../shutdown/types.ts";
import type { Family, Sample } from "./exposition.ts";

/** The server as the metrics see it. */
export type MeasuredServer = Pick<Server, "status" | "links" | "traffic" | "lastReport" | "lifecycle">;

/** What metrics are made from. */
export interface MetricsOptions {
  readonly server: MeasuredServer;
  readonly config: Pick<Config, "data" | "http">;
  /** What the HTTP side itself and the event loop have to say. */
  readonly own: () => readonly Family[];
}

const STATES: readonly LifecycleState[] = ["starting", "running", "suspending", "suspended", "stopping", "stopped"];
const OUTCOMES: readonly DrainReport["outcome"][] = ["clean", "fatal", "lost", "incomplete", "cancelled"];

/** Returns every family as it is now. */
export async function measure(options: MetricsOptions): Promise<readonly Family[]> {
  const { server, config } = options;
  return [
    ...lifecycleFamilies(server),
    ...sessionFamilies(server),
    ...serverFamilies(server, config.http.max_domains),
    ...stanzaFamilies(server),
    ...lastRunFamilies(server.lastReport),
    ...options.own(),
    ...(await processFamilies(config.data)),
  ];
}

function lifecycleFamilies({ lifecycle }: MeasuredServer): Family[] {
  const { state, progress, remaining } = lifecycle;
  const families: Family[] = [
    {
      name: "morendo_build",
      type: "info",
      help: "The versions of Morendo and of Node.js.",
      samples: [{ labels: { version, node: process.version }, value: 1 }],
    },
    stateset("morendo_lifecycle_state", "The state of the life cycle.", STATES, state),
    gauge(
      "morendo_ready",
      "Whether the server wants new clients: 1 is the answer 200 of /ready.",
      isReady(lifecycle) ? 1 : 0,
    ),
  ];
  if (remaining !== undefined) {
    families.push(
      gauge("morendo_run_remaining_seconds", "What is left of the budget of the run under way.", remaining / 1_000),
    );
  }
  if (progress !== undefined) {
    const { phase, done, total } = progress;
    families.push({
      name: "morendo_phase_items",
      type: "gauge",
      help: "How far the phase under way is.",
      samples: [
        { labels: { phase, status: "done" }, value: done },
        { labels: { phase, status: "total" }, value: total },
      ],
    });
  }
  return families;
}

function sessionFamilies(server: MeasuredServer): Family[] {
  const { sessions, hibernating, resumable, connections } = server.status();
  return [
    gauge("morendo_sessions", "Sessions of local users.", sessions),
    gauge("morendo_sessions_hibernating", "Sessions that wait for their clients to come back (XEP-0198).", hibernating),
    gauge("morendo_sessions_resumable", "Sessions that outlive a restart, or a stop and a start.", resumable),
    gauge("morendo_client_connections", "Connections of clients, logged in or not.", connections),
  ];
}

function serverFamilies(server: MeasuredServer, maxDomains: number): Family[] {
  const { s2s, journal } = server.status();
  const links = server.links();
  const sum = (count: (link: (typeof links)[number]) => number): number =>
    links.reduce((total, link) => total + count(link), 0);
  const states = new Map<string, number>(
    ["idle", "dialling", "negotiating", "open", "closing", "backing-off"].map((state) => [state, 0]),
  );
  for (const { state } of links) states.set(state, (states.get(state) ?? 0) + 1);
  const families: Family[] = [
    {
      name: "morendo_s2s_streams",
      type: "gauge",
      help: "Open streams from and to other servers.",
      samples: [
        { labels: { direction: "in" }, value: s2s.incoming },
        { labels: { direction: "out" }, value: s2s.outgoing },
      ],
    },
    {
      name: "morendo_s2s_links",
      type: "gauge",
      help: "Links to other domains, by what they are doing.",
      samples: Array.from(states, ([state, value]) => ({ labels: { state }, value })),
    },
    {
      name: "morendo_s2s_queue_stanzas",
      type: "gauge",
      help: "Stanzas owed to other domains: queued are still to be written, unproved are written and not yet proved to have arrived.",
      samples: [
        { labels: { state: "queued" }, value: sum(({ queued }) => queued) },
        { labels: { state: "unproved" }, value: sum(({ unproved }) => unproved) },
      ],
    },
    gauge("morendo_s2s_owed_stanzas", "Stanzas for other domains that have no fate yet.", s2s.queued),
    gauge("morendo_s2s_journal_stanzas", "Stanzas that wait on the disk for other domains.", journal?.waiting ?? 0),
    gauge(
      "morendo_s2s_journal_characters",
      "The size of what waits on the disk for other domains.",
      journal?.size ?? 0,
    ),
    ...journalFamilies(journal),
  ];
  if (maxDomains === 0) return families;
  const owed = new Map<string, number>();
  for (const { remote, queued, unproved } of links) owed.set(remote, (owed.get(remote) ?? 0) + queued + unproved);
  const longest = [...owed].filter(([, value]) => value > 0).sort(([, one], [, other]) => other - one);
  families.push({
    name: "morendo_s2s_domain_owed_stanzas",
    type: "gauge",
    help: "Stanzas owed to the domains with the longest queues.",
    samples: longest.slice(0, maxDomains).map(([domain, value]) => ({ labels: { domain }, value })),
  });
  return families;
}

/** What there is nothing to say of without a journal. */
function journalFamilies(journal: JournalStatus | undefined): Family[] {
  if (journal === undefined) return [];
  const { oldestMs, taken, left, refused } = journal;
  return [
    gauge(
      "morendo_s2s_journal_oldest_age_seconds",
      "How long the oldest stanza in the journal has waited; 0 when nothing waits.",
      oldestMs / 1_000,
    ),
    counter(
      "morendo_s2s_journal_taken",
      "Stanzas that were taken into the journal, those found there at the start included.",
      taken,
    ),
    {
      name: "morendo_s2s_journal_left",
      type: "counter",
      help: "Stanzas that left the journal, by what became of them.",
      samples: Object.entries(left).map(([outcome, value]) => ({ labels: { outcome }, value })),
    },
    {
      name: "morendo_s2s_journal_refused",
      type: "counter",
      help: "Stanzas that came back because the journal had no room for them, by the bound that they exceed.",
      samples: Object.entries(refused).map(([bound, value]) => ({ labels: { bound }, value })),
    },
  ];
}

function stanzaFamilies({ traffic, lifecycle }: MeasuredServer): Family[] {
  const ways = [
    ["client", "in", traffic.fromClients],
    ["client", "out", traffic.toClients],
    ["server", "in", traffic.fromServers],
    ["server", "out", traffic.toServers],
  ] as const;
  const { running, run } = lifecycle.obligations.snapshot();
  return [
    {
      name: "morendo_stanzas",
      type: "counter",
      help: "Stanzas that came in from or were taken over for clients and other servers.",
      samples: ways.flatMap(([peer, direction, counts]) =>
        Object.entries(counts).map(([kind, value]) => ({ labels: { peer, direction, kind }, value })),
      ),
    },
    {
      name: "morendo_obligations",
      type: "counter",
      help: "What became of the stanzas that were owed to somebody.",
      samples: fatesOf(running, run),
    },
    {
      name: "morendo_obligations_proved_by",
      type: "counter",
      help: "How the stanzas that were owed to other domains are known to have arrived.",
      samples: Object.entries(running.evidence).map(([evidence, value]) => ({
        labels: { evidence },
        value: value + (run.evidence[evidence as keyof FateTotals["evidence"]] ?? 0),
      })),
    },
  ];
}

function fatesOf(running: FateTotals, run: FateTotals): Sample[] {
  const { evidence: _, ...fates } = running;
  return Object.entries(fates).map(([fate, value]) => ({
    labels: { fate },
    value: value + run[fate as keyof typeof fates],
  }));
}

function lastRunFamilies(report: DrainReport | undefined): Family[] {
  if (report === undefined) return [];
  const began = Date.parse(report.startedAt) / 1_000;
  return [
    stateset("morendo_last_run_outcome", "How the last run of the pipeline ended.", OUTCOMES, report.outcome),
    gauge(
      "morendo_last_run_start_time_seconds",
      "When the last run of the pipeline began.",
      Number.isNaN(began) ? 0 : began,
    ),
    gauge(
      "morendo_last_run_duration_seconds",
      "How long the last run of the pipeline took.",
      report.durationMs / 1_000,
    ),
    {
      name: "morendo_last_run_phase_duration_seconds",
      type: "gauge",
      help: "How long each phase of the last run took.",
      samples: report.phases.map(({ name, durationMs }) => ({ labels: { phase: name }, value: durationMs / 1_000 })),
    },
    {
      name: "morendo_last_run_obligations",
      type: "gauge",
      help: "What became of what was owed when the last run began.",
      samples: fatesOf(report.obligations.run, ZERO),
    },
  ];
}

const ZERO: FateTotals = {
  proved: 0,
  stored: 0,
  returned: 0,
  dropped: 0,
  lost: 0,
  evidence: { "sm-ack": 0, pong: 0, closed: 0, written: 0 },
};

/** The names are those that Prometheus' own clients use. */
async function processFamilies(data: string): Promise<Family[]> {
  const { user, system } = process.cpuUsage();
  const { rss, heapUsed, heapTotal, external } = process.memoryUsage();
  const { active, idle } = performance.eventLoopUtilization();
  const families: Family[] = [
    counter("process_cpu_seconds", "User and system time spent.", (user + system) / 1e6),
    gauge("process_resident_memory_bytes", "Memory in use.", rss),
    gauge("process_start_time_seconds", "When the process began.", performance.timeOrigin / 1_000),
    gauge("nodejs_heap_size_used_bytes", "Memory that the program's objects take.", heapUsed),
    gauge("nodejs_heap_size_total_bytes", "Memory set aside for the program's objects.", heapTotal),
    gauge("nodejs_external_memory_bytes", "Memory of buffers.", external),
    counter("nodejs_eventloop_active_seconds", "How long the event loop was busy.", active / 1_000),
    counter("nodejs_eventloop_idle_seconds", "How long the event loop waited for work.", idle / 1_000),
  ];
  const [open, limit, store] = await Promise.all([openDescriptors(), descriptorLimit(), sizeOf(join(data, "store"))]);
  if (open !== undefined) families.push(gauge("process_open_fds", "Open file descriptors.", open));
  if (limit !== undefined) families.push(gauge("process_max_fds", "How many file descriptors may be open.", limit));
  if (store !== undefined) families.push(gauge("morendo_store_bytes", "Size of the store on the disk.", store));
  return families;
}

/** What is not to be had on this system is left out. */
async function openDescriptors(): Promise<number | undefined> {
  return await readdir("/proc/self/fd").then((names) => names.length, nothing);
}

async function descriptorLimit(): Promise<number | undefined> {
  const text = await readFile("/proc/self/limits", "utf8").catch(nothing);
  const limit = /^Max open files +(\d+)/m.exec(text ?? "")?.[1];
  return limit === undefined ? undefined : Number(limit);
}

async function sizeOf(path: string): Promise<number | undefined> {
  const found = await stat(path).catch(nothing);
  if (found === undefined || !found.isDirectory()) return found?.size;
  const names = (await readdir(path).catch(nothing)) ?? [];
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(path, name)).catch(nothing))?.size ?? 0));
  return sizes.reduce((sum, size) => sum + size, 0);
}

function nothing(): undefined {
  return undefined;
}

function gauge(name: string, help: string, value: number): Family {
  return { name, type: "gauge", help, samples: [{ value }] };
}

function counter(name: string, help: string, value: number): Family {
  return { name, type: "counter", help, samples: [{ value }] };
}

function stateset(name: string, help: string, states: readonly string[], current: string): Family {
  const samples = states.map((state) => ({ labels: { [name]: state }, value: state === current ? 1 : 0 }));
  return { name, type: "stateset", help, samples };
}

/** Returns how many there are, as a counter with one label. */
export function labelled(name: string, help: string, label: string, counts: ReadonlyMap<string, number>): Family {
  return {
    name,
    type: "counter",
    help,
    samples: Array.from(counts, ([text, value]) => ({ labels: { [label]: text }, value })),
  };
}
