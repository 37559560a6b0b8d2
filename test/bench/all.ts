// `make bench`: every measurement for every server that is installed, as a table on the terminal and in
// docs/BENCHMARKS.md. A single one by name: npx tsx test/bench/all.ts messages --server morendo (nothing is written then).

import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { missing } from "../support/network.ts";
import type { ServerKind } from "../support/server.ts";
import { type CostOptions, idleMemory, loginRate, messageRate } from "./costs.ts";
import { measureRestart } from "./restarts.ts";
import { measureShutdown, ROWS } from "./shutdowns.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const SERVERS: readonly ServerKind[] = ["morendo", "prosody", "ejabberd"];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    server: { type: "string" },
    users: { type: "string" },
    sessions: { type: "string", default: "1000" },
    logins: { type: "string", default: "600" },
    pairs: { type: "string", default: "20" },
    window: { type: "string", default: "10" },
    seconds: { type: "string", default: "10" },
    help: { type: "boolean", default: false },
  },
});

const options: CostOptions = {
  logins: Number(values.logins),
  concurrency: 8,
  sessions: Number(values.sessions),
  pairs: Number(values.pairs),
  window: Number(values.window),
  seconds: Number(values.seconds),
};

interface Measurement {
  readonly group: string;
  /** The servers that can do it: all unless told. */
  readonly servers?: readonly ServerKind[];
  readonly title: string;
  measure(kind: ServerKind): Promise<Record<string, number>>;
  show(numbers: Record<string, number>): string;
}

const MEASUREMENTS: readonly Measurement[] = [
  {
    group: "logins",
    title: "logins per server-CPU-second (STARTTLS, PLAIN, bind)",
    measure: (kind) => loginRate(kind, options),
    show: ({ perCpuSecond = 0 }) => whole(perCpuSecond),
  },
  {
    group: "memory",
    title: `memory per idle TLS session, of ${options.sessions}`,
    measure: (kind) => idleMemory(kind, options),
    show: ({ bytesPerSession = 0 }) => `${(bytesPerSession / 1024).toFixed(1)} KiB`,
  },
  ...[1, options.window].map((window) => ({
    group: "messages",
    title: `messages per server-CPU-second (TLS), ${window} under way per pair`,
    measure: (kind: ServerKind) => messageRate(kind, { ...options, window }),
    show: ({ perCpuSecond = 0, lost = 0 }) => `${whole(perCpuSecond)}${lost === 0 ? "" : ` (${lost} lost)`}`,
  })),
  ...ROWS.filter(({ users }) => values.users === undefined || users === Number(values.users)).map((row) => ({
    group: "shutdown",
    title: `SIGTERM, ${row.name}: presences delivered of those owed, exit after`,
    measure: (kind: ServerKind) => measureShutdown(kind, row),
    show: ({ arrived = 0, owed = 0, surplus = 0, exitMs = 0, clients = 0, orderlyCloses = 0, longestBlockMs = -1 }) =>
      `${arrived}/${owed}${surplus === 0 ? "" : ` (+${surplus} twice)`}, ${(exitMs / 1_000).toFixed(2)} s; ` +
      `${orderlyCloses}/${clients} clients closed in order` +
      (longestBlockMs < 0 ? "" : `; loop held up for ${longestBlockMs} ms at most`),
  })),
  {
    group: "restart",
    servers: ["morendo"],
    title: `restart, ${options.sessions} resumable sessions: last one resumed after, longest gap in service`,
    measure: () => measureRestart(options.sessions),
    show: ({ resumedMs = 0, gapMs = 0, withoutMs = 0, frozenMs = 0, resumptions = 0, faults = 0 }) =>
      `${(resumedMs / 1_000).toFixed(2)} s, ${(gapMs / 1_000).toFixed(2)} s (nobody served for ${whole(frozenMs)} ms; ` +
      `${whole(withoutMs)} ms without a connection at most); ${resumptions}/${options.sessions} resumed` +
      (faults === 0 ? "" : `; ${faults} faults`),
  },
];

if (values.help) {
  print(
    "usage: npx tsx test/bench/all.ts [logins|memory|messages|shutdown|restart]... [--server NAME] [--users N] [--sessions N]",
  );
  print("       [--logins N] [--pairs N] [--window N] [--seconds N]");
} else {
  await main();
}

async function main(): Promise<void> {
  const servers = SERVERS.filter(
    (kind) => values.server === undefined || values.server.split(",").includes(kind),
  ).filter((kind) => {
    const reason = missing(kind);
    if (reason !== undefined) print(`${kind} is left out: ${reason}`);
    return reason === undefined;
  });
  const wanted = MEASUREMENTS.filter(({ group }) => positionals.length === 0 || positionals.includes(group));
  if (wanted.length === 0) throw new Error(`no such benchmark: ${positionals.join(" ")}`);
  const lines = [`| | ${servers.join(" | ")} |`, `|---|${servers.map(() => "---").join("|")}|`];
  for (const measurement of wanted) {
    const cells: string[] = [];
    for (const kind of servers) {
      if (measurement.servers?.includes(kind) === false) {
        cells.push("–");
        continue;
      }
      try {
        const numbers = await measurement.measure(kind);
        print(`${measurement.title}: ${kind} ${measurement.show(numbers)}  ${JSON.stringify(rounded(numbers))}`);
        cells.push(measurement.show(numbers));
      } catch (error) {
        print(`${measurement.title}: ${kind} failed: ${error instanceof Error ? error.message : String(error)}`);
        cells.push("failed");
        process.exitCode = 1;
      }
    }
    lines.push(`| ${measurement.title} | ${cells.join(" | ")} |`);
  }
  print(`\n${lines.join("\n")}`);
  if (positionals.length === 0 && values.server === undefined) writeFileSync(`${ROOT}docs/BENCHMARKS.md`, page(lines));
}

function page(table: readonly string[]): string {
  const memory = `${Math.round(totalmem() / 1024 ** 3)} GiB`;
  return `# Benchmarks

Made by \`make bench\` on ${new Date().toISOString().slice(0, 10)}: ${cpus().length} cores (${cpus()[0]?.model ?? "unknown"}), ${memory},
Linux, loopback. Node ${process.version}; Prosody ${version("prosody")}; ejabberd ${version("ejabberd")}; Morendo ${ownVersion()}.
Ratios carry over to other machines, absolutes do not.

${table.join("\n")}

## How it is measured

- Each server has a fresh data folder, an ECDSA P-256 certificate and its stock modules, without rate limits. Prosody
  stores hashed passwords (10,000 iterations, its default), ejabberd plain ones (its default), Morendo hashed ones (4,096).
- The clients live in a process of their own. Processor time is user and system time of the server's process and its
  children from \`/proc/PID/stat\`.
- logins: ${options.logins} logins of 200 accounts, ${options.concurrency} at a time, each with a full TLS handshake, PLAIN, bind and an
  orderly close, after a quarter as many to warm up. Morendo keeps a keyed hash of a password that was right
  (src/sasl/plain.ts), so an account's second PLAIN login does not derive keys again; the first costs about 1 ms more.
- memory: growth of the proportional set size by ${options.sessions} available sessions without contacts, 15 s after the last login.
- messages: ${options.pairs} pairs of clients in a closed loop, about 150 bytes each, for ${options.seconds} s after 3 s to warm up. The number under
  way decides how many a server reads and writes at once, and so most of the result: with 1 nothing can be batched, which
  is the figure to compare servers by; with ${options.window} a whole window tends to travel as one burst, which flatters whoever batches.
- SIGTERM: N users with 2 remote contacts each out of 20 on a Prosody, all available. "Cold": the peer closed all streams
  before. "Slow": proxies on both sides of the link, 200 ms each way, 64 KiB/s. "Closed in order": the client got
  \`<system-shutdown/>\`, the closing tag and no reset.
- restart: \`morendo restart\` with ${options.sessions} sessions with stream management over TLS, each with two contacts on the same server and
  a message every 5 s; the clients, all in one process, resume as soon as their connections end. The gap in service
  is from the moment from which nobody served to the last \`<resumed/>\`; most of the time before it the new process starts up,
  while the old one serves. A message lost, doubled or a presence seen counts as a fault.
- Each figure is one run on a shared machine. The longest hold-up of the event loop varies most: 32 to 90 ms were seen
  at N = 3000 on a quiet machine, more beside other work.
- One row alone: \`npx tsx test/bench/all.ts shutdown --server morendo --users 1000\`.
`;
}

function version(program: string): string {
  const { stdout } = spawnSync("dpkg-query", ["-W", "-f", `\${Version}`, program], { encoding: "utf8" });
  return stdout || "not installed";
}

function ownVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(`${ROOT}package.json`, "utf8"));
  return typeof manifest === "object" && manifest !== null && "version" in manifest ? String(manifest.version) : "";
}

function rounded(numbers: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(numbers).map(([name, value]) => [name, Math.round(value)]));
}

function whole(value: number): string {
  return Math.round(value).toLocaleString("en");
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
