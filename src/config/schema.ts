// Every configuration option with its type, bounds and default, and nothing else. config/morendo.toml shows the same
// options to people, and a test keeps the two equal. Messages say what is expected; load.ts adds the place and what was
// found instead.

import { domainToUnicode } from "node:url";
import { z } from "zod";
import { formatDuration, parseDuration, parseSize } from "../util/units.ts";
import { OPERATION_NAMES } from "./operation-names.ts";

const DURATION = 'a duration such as "30s"';
const SIZE = 'a size such as "256KiB"';

const duration = (fallback: string) =>
  z.string({ error: DURATION }).default(fallback).transform(unit(parseDuration, DURATION));
const size = (fallback: string) => z.string({ error: SIZE }).default(fallback).transform(unit(parseSize, SIZE));

function unit(parse: (text: string) => number | undefined, expected: string) {
  return (text: string, context: z.RefinementCtx): number => {
    const value = parse(text);
    if (value !== undefined) return value;
    context.addIssue({ code: "custom", message: expected });
    return z.NEVER;
  };
}

/** Options that a running server cannot take in: `morendo reload` names those that have changed. */
export const restartOnly = new WeakSet<z.ZodType>();

/** Marks an option that takes a new process. */
function atRestart<Schema extends z.ZodType>(schema: Schema): Schema {
  restartOnly.add(schema);
  return schema;
}

const text = z.string({ error: "a text in quotes" });
const path = z.string({ error: "a path in quotes" }).min(1, "a path in quotes");
const flag = (fallback: boolean) => z.boolean({ error: "true or false" }).default(fallback);

const ADDRESS = '"host:port", such as "0.0.0.0:5222" or "[::]:5222"';
const address = z
  .string({ error: ADDRESS })
  .refine((value) => /^(\[[0-9A-Fa-f:.]+\]|[^:[\]\s]+):\d{1,5}$/.test(value) && portOf(value) <= 65_535, ADDRESS);

function portOf(value: string): number {
  return Number(value.slice(value.lastIndexOf(":") + 1));
}

const ACCOUNT = 'an account such as "admin@example.org"';
const account = z.string({ error: ACCOUNT }).regex(/^[^\s@/]+@[^\s@/]+$/u, ACCOUNT);
const OPERATION = `one of ${OPERATION_NAMES.join(", ")}`;
const operations = z.array(z.enum(OPERATION_NAMES, { error: OPERATION }), { error: "a list, such as [...]" });

const TOKEN_NAME = "a name of letters, digits, dots and dashes";
const TOKEN = "24 to 512 letters and digits that nobody can guess";

const SERVER = 'a name server such as "127.0.0.1" or "127.0.0.1:5353"';
const nameServer = z
  .string({ error: SERVER })
  .regex(/^(\[[0-9A-Fa-f:.]+\](:\d{1,5})?|[\d.]+(:\d{1,5})?|[0-9A-Fa-f:.]+)$/, SERVER);

const COUNT = "a whole number above 0";
const count = (fallback: number) => z.int({ error: COUNT }).positive(COUNT).default(fallback);

const list = <Item extends z.ZodType>(item: Item) => z.array(item, { error: "a list, such as [...]" });

const HOST = 'a domain such as "example.org"';
const host = z
  .strictObject({
    name: atRestart(
      z
        .string({ error: HOST })
        .regex(/^[^\s@/:]{1,1023}$/u, HOST)
        .toLowerCase()
        // DNS writes an international name as A-labels, addresses have it as U-labels.
        .overwrite((name) => domainToUnicode(name) || name),
    ),
    certificate: path.optional(),
    key: path.optional(),
  })
  .refine((value) => (value.certificate === undefined) === (value.key === undefined), {
    path: ["certificate"],
    message: "`certificate` and `key` together, or neither of them",
  });

/** Limits of one XML stream (RFC 6120 §13.12). */
const streamLimits = (stanzaSize: string) => ({
  max_stanza_size: size(stanzaSize),
  max_depth: count(64),
  max_attributes: count(64),
  /** Bytes a second that are read on the long run, and how many may come at once. */
  rate: size("256KiB"),
  burst: size("2MiB"),
});

const c2s = z.strictObject({
  listen: atRestart(list(address).default(["0.0.0.0:5222"])),
  listen_tls: atRestart(list(address).default(["0.0.0.0:5223"])),
  ...streamLimits("256KiB"),
  max_login_size: size("16KiB"),
  max_connections: count(20_000),
  max_connections_per_address: count(1_000),
  login_timeout: duration("30s"),
  close_timeout: duration("5s"),
  idle_timeout: duration("15m"),
  max_unread: size("1MiB"),
  stall_timeout: duration("30s"),
  max_resources: count(20),
  max_failed_logins: count(3),
  sm_max: duration("5m"),
  sm_max_queue: count(1_000),
  sm_max_queue_size: size("1MiB"),
  sm_ack_timeout: duration("1m"),
  sm_location: address.optional(),
  sm_max_hibernating: count(10_000),
  sm_max_hibernating_per_account: count(5),
  sm_max_hibernating_size: size("128MiB"),
  sasl: list(z.enum(["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"]))
    .min(1, "at least one mechanism")
    .default(["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"]),
});

const s2s = z.strictObject({
  enabled: atRestart(flag(true)),
  listen: atRestart(list(address).default(["0.0.0.0:5269"])),
  ...streamLimits("512KiB"),
  rate: size("2MiB"),
  burst: size("8MiB"),
  max_connections: count(2_000),
  require_tls: flag(true),
  /** `allow`: dialback where the certificate does not verify; `deny`: a valid certificate is required. */
  dialback: z.enum(["allow", "deny"]).default("allow"),
  routes: z.record(z.string(), address).default({}),
  /** PEM files with the roots that peers' certificates must lead to, beside those of Node. */
  trusted_roots: list(path).default([]),
  connect_timeout: duration("15s"),
  auth_timeout: duration("30s"),
  close_timeout: duration("5s"),
  idle_timeout: duration("10m"),
  ack_timeout: duration("30s"),
  retry_delay: duration("30s"),
  max_queue: count(10_000),
  max_queue_size: size("16MiB"),
  max_dials: count(64),
  /** What waits on the disk: `absence` what a domain that is away does not take, `stop` only what is left at a stop. */
  journal: atRestart(z.enum(["absence", "stop", "off"], { error: '"absence", "stop" or "off"' }).default("absence")),
  journal_lifetime: duration("1d"),
  journal_max: count(100_000),
  journal_max_size: size("128MiB"),
  journal_max_per_domain: count(10_000),
  journal_max_size_per_domain: size("16MiB"),
  /** An account, a room: one sender alone must not fill the journal. */
  journal_max_per_sender: count(1_000),
  journal_max_size_per_sender: size("4MiB"),
  /** Whether a stanza for another domain is on the disk before its sender has an acknowledgement of it. */
  journal_before_ack: flag(false),
});

const phase = (floor: string, ceiling: string) =>
  z
    .strictObject({ floor: duration(floor), ceiling: duration(ceiling) })
    .refine((value) => value.floor <= value.ceiling, {
      path: ["floor"],
      message: "a floor that is not above the ceiling",
    })
    .prefault({});

const PHASE_OPTIONS = ["stop_accepting", "close_sessions", "server_stopping", "drain_s2s", "quit"] as const;

const shutdown = z
  .strictObject({
    deadline: duration("25s"),
    /** How long everything is still served, before that, at a stop that is not asked for with another delay. */
    delay: duration("0s"),
    /** What the second signal leaves of the budget. */
    hurry: duration("2s"),
    /** How long past the deadline the watchdog waits before it kills the process. */
    watchdog_grace: duration("2s"),
    batch: count(25),
    /** What contacts of sessions that can be resumed after the next start are told at a stop: `end` unavailable, `keep` nothing. */
    resumable: z.enum(["end", "keep"], { error: '"end" or "keep"' }).default("end"),
    stop_accepting: phase("1s", "5s"),
    close_sessions: phase("2s", "15s"),
    server_stopping: phase("1s", "10s"),
    drain_s2s: phase("3s", "20s"),
    quit: phase("1s", "5s"),
  })
  .superRefine((value, context) => {
    const floors = PHASE_OPTIONS.reduce((sum, name) => sum + value[name].floor, 0);
    if (floors <= value.deadline) return;
    const message = `a deadline of at least ${formatDuration(floors)}, which is what the floors of the phases add up to`;
    context.addIssue({ code: "custom", path: ["deadline"], message });
  });

const RIGHT = `one of metrics, ${OPERATION_NAMES.join(", ")}`;
const httpToken = z
  .strictObject({
    name: z.string({ error: TOKEN_NAME }).regex(/^[\w.-]{1,64}$/, TOKEN_NAME),
    token: z
      .string({ error: TOKEN })
      .regex(/^[\w.~+/=-]{24,512}$/, TOKEN)
      .optional(),
    token_file: path.optional(),
    allow: z.array(z.enum(["metrics", ...OPERATION_NAMES], { error: RIGHT }), { error: "a list, such as [...]" }),
  })
  .refine((value) => (value.token === undefined) !== (value.token_file === undefined), {
    path: ["token"],
    message: "either `token` or `token_file`",
  });

const http = z
  .strictObject({
    listen: atRestart(list(address).default(["127.0.0.1:5280"])),
    allow_remote: atRestart(flag(false)),
    /** Names under which it may be asked for, beside `localhost` and addresses. */
    names: list(text).default([]),
    /** Who may read the metrics: whoever has a token that allows it, or everybody who can connect. */
    metrics: z.enum(["token", "open"], { error: '"token" or "open"' }).default("token"),
    max_domains: z.int({ error: "a whole number" }).min(0, "0 or more").max(1_000, "at most 1000").default(0),
    max_connections: count(64),
    max_watchers: count(16),
    tokens: list(httpToken).default([]),
  })
  .superRefine(({ listen, allow_remote: allowsRemote, tokens }, context) => {
    for (const [index, place] of listen.entries()) {
      if (allowsRemote || isLoopback(place)) continue;
      const message =
        "an address of this machine alone, such as 127.0.0.1, because HTTP here has no encryption; `allow_remote = true` if what is between is to be trusted";
      context.addIssue({ code: "custom", path: ["listen", index], message });
    }
    const seen = new Set<string>();
    for (const [index, { name }] of tokens.entries()) {
      if (seen.has(name))
        context.addIssue({ code: "custom", path: ["tokens", index, "name"], message: "each name once" });
      seen.add(name);
    }
  });

function isLoopback(place: string): boolean {
  const host = place.slice(0, place.lastIndexOf(":")).replace(/^\[|\]$/g, "");
  return host === "localhost" || host === "::1" || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}

/** Domains are compared without case (RFC 7622 §3.2). */
function refuseTwins(hosts: readonly { readonly name: string }[], context: z.RefinementCtx): void {
  const seen = new Set<string>();
  for (const [index, { name }] of hosts.entries()) {
    const isTwin = seen.has(name.toLowerCase());
    if (isTwin) context.addIssue({ code: "custom", path: [index, "name"], message: "each host once" });
    seen.add(name.toLowerCase());
  }
}

/** The whole configuration. */
export const configSchema = z.strictObject({
  data: atRestart(path.default("data")),
  hosts: z
    .array(host, { error: "[[hosts]] tables" })
    .min(1, "at least one host")
    .superRefine(refuseTwins)
    .default([{ name: "localhost" }]),
  modules: list(text).default([
    "roster",
    "presence",
    "offline",
    "disco",
    "ping",
    "version",
    "time",
    "commands",
    "admin",
    "announce",
  ]),
  /** Options of each module, by its name; the module itself checks them. */
  module: z.record(z.string(), z.record(z.string(), z.unknown())).default({}),
  c2s: c2s.prefault({}),
  s2s: s2s.prefault({}),
  dns: z.strictObject({ servers: list(nameServer).default([]), timeout: duration("5s") }).prefault({}),
  auth: z
    .strictObject({ iterations: z.int({ error: COUNT }).min(4096, "at least 4096 (RFC 7677 §4)").default(4096) })
    .prefault({}),
  log: z
    .strictObject({ level: z.enum(["debug", "info", "warn", "error"]).default("info"), file: path.optional() })
    .prefault({}),
  /** Who may do what by XMPP: `accounts` everything, those in `allow` the operations named. */
  admin: z
    .strictObject({
      accounts: list(account).default(["admin@localhost"]),
      allow: z.record(account, operations).default({}),
    })
    .prefault({}),
  http: http.prefault({}),
  control: z.strictObject({ socket: atRestart(text.default("")) }).prefault({}),
  shutdown: shutdown.prefault({}),
  restart: z.strictObject({ timeout: duration("1m") }).prefault({}),
  /** Bounds on the process as a whole; 0 is none. */
  limits: z.strictObject({ max_memory: size("0B") }).prefault({}),
  suspend: z
    .strictObject({
      mode: z.enum(["hold", "refuse"], { error: '"hold" or "refuse"' }).default("hold"),
      timeout: duration("30s"),
      /** What becomes of it when somebody is not done by then: everything goes `back`, or it `stay`s suspended. */
      on_timeout: z.enum(["back", "stay"], { error: '"back" or "stay"' }).default("back"),
      /** Where those who are refused are sent. */
      see_other_host: address.optional(),
      /** How often white space is sent while everything is held. */
      keepalive: duration("30s"),
    })
    .prefault({}),
});

/** The configuration as the server uses it: defaults filled in, durations in milliseconds, sizes in bytes. */
export type Config = z.output<typeof configSchema>;
