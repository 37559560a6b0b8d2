// Every configuration option with its type, bounds and default, and nothing else. config/morendo.toml shows the same
// options to people, and a test keeps the two equal. Loading and error messages: load.ts.

import { z } from "zod";
import { parseDuration, parseSize } from "../util/units.ts";

const duration = (fallback: string) =>
  z.string().default(fallback).transform(unit(parseDuration, 'a duration such as "30s"'));
const size = (fallback: string) => z.string().default(fallback).transform(unit(parseSize, 'a size such as "256KiB"'));

function unit(parse: (text: string) => number | undefined, expected: string) {
  return (text: string, context: z.RefinementCtx): number => {
    const value = parse(text);
    if (value !== undefined) return value;
    context.addIssue({ code: "custom", message: `expected ${expected}, received ${JSON.stringify(text)}` });
    return z.NEVER;
  };
}

const address = z
  .string()
  .regex(/^(\[[0-9A-Fa-f:]+\]|[^:[\]\s]+):\d{1,5}$/, 'expected "host:port", such as "0.0.0.0:5222"');
const count = (fallback: number) => z.number().int().positive().default(fallback);

const host = z.strictObject({
  name: z.string().min(1),
  certificate: z.string().optional(),
  key: z.string().optional(),
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
  listen: z.array(address).default(["0.0.0.0:5222"]),
  listen_tls: z.array(address).default(["0.0.0.0:5223"]),
  ...streamLimits("256KiB"),
  max_connections: count(20_000),
  max_connections_per_address: count(1_000),
  login_timeout: duration("30s"),
  close_timeout: duration("5s"),
  idle_timeout: duration("15m"),
  max_unread: size("1MiB"),
  stall_timeout: duration("30s"),
  max_resources: count(20),
  max_failed_logins: count(3),
  sasl: z
    .array(z.enum(["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"]))
    .min(1)
    .default(["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"]),
});

const s2s = z.strictObject({
  enabled: z.boolean().default(true),
  listen: z.array(address).default(["0.0.0.0:5269"]),
  ...streamLimits("512KiB"),
  rate: size("2MiB"),
  burst: size("8MiB"),
  max_connections: count(2_000),
  require_tls: z.boolean().default(true),
  /** `allow`: dialback where the certificate does not verify; `deny`: a valid certificate is required. */
  dialback: z.enum(["allow", "deny"]).default("allow"),
  routes: z.record(z.string(), address).default({}),
  /** PEM files with the roots that peers' certificates must lead to, beside those of Node. */
  trusted_roots: z.array(z.string()).default([]),
  connect_timeout: duration("15s"),
  auth_timeout: duration("30s"),
  close_timeout: duration("5s"),
  idle_timeout: duration("10m"),
  ack_timeout: duration("30s"),
  retry_delay: duration("30s"),
  max_queue: count(10_000),
  max_queue_size: size("16MiB"),
  max_dials: count(64),
});

const phase = (floor: string, ceiling: string) =>
  z.strictObject({ floor: duration(floor), ceiling: duration(ceiling) }).prefault({});

const shutdown = z.strictObject({
  deadline: duration("25s"),
  /** What the second signal leaves of the budget. */
  hurry: duration("2s"),
  /** How long past the deadline the watchdog waits before it kills the process. */
  watchdog_grace: duration("2s"),
  batch: count(50),
  stop_accepting: phase("1s", "5s"),
  close_sessions: phase("2s", "15s"),
  server_stopping: phase("1s", "10s"),
  drain_s2s: phase("3s", "20s"),
  quit: phase("1s", "5s"),
});

/** The whole configuration. */
export const configSchema = z.strictObject({
  data: z.string().default("data"),
  hosts: z
    .array(host)
    .min(1)
    .default([{ name: "localhost" }]),
  modules: z.array(z.string()).default(["roster", "presence", "offline", "disco", "ping", "version", "time"]),
  /** Options of each module, by its name; the module itself checks them. */
  module: z.record(z.string(), z.record(z.string(), z.unknown())).default({}),
  c2s: c2s.prefault({}),
  s2s: s2s.prefault({}),
  dns: z.strictObject({ servers: z.array(z.string()).default([]), timeout: duration("5s") }).prefault({}),
  auth: z.strictObject({ iterations: z.number().int().min(4096).default(4096) }).prefault({}),
  log: z
    .strictObject({ level: z.enum(["debug", "info", "warn", "error"]).default("info"), file: z.string().optional() })
    .prefault({}),
  control: z.strictObject({ socket: z.string().default("") }).prefault({}),
  shutdown: shutdown.prefault({}),
});

/** The configuration as the server uses it: defaults filled in, durations in milliseconds, sizes in bytes. */
export type Config = z.output<typeof configSchema>;
