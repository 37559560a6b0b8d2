// The arguments of what brings the server down or tells of it, and how those who asked follow it. The operations stand in
// table.ts.

import { z } from "zod";
import { DEFAULT_PACE } from "../server/evacuation.ts";
import type { PhaseName } from "../server/phases.ts";
import type { Lifecycle } from "../shutdown/lifecycle.ts";
import type { StopRequest } from "../shutdown/types.ts";
import type { Call } from "./operation.ts";

/** A week: whoever wants longer has a calendar. */
const MAX_DELAY_MS = 7 * 86_400_000;
const A_WEEK = "expected at most a week";
/** The delay of what is announced and has none: so that it gets out. */
const LEAST_NOTICE_MS = 1_000;

const announcement = z.string().min(1).max(2_000);

/** What can be said of the time before a stop or a restart. */
export const scheduleShape = {
  /** How long everything is still served; as configured unless given. */
  delayMs: z.int().nonnegative().max(MAX_DELAY_MS, A_WEEK).optional(),
  /** What users are told meanwhile. */
  announcement: announcement.optional(),
};

export const stopArguments = z.strictObject({
  reason: z.string().max(1_000).default("stopped by the operator"),
  /** Tells every step by `state`, `phase` and `progress` events, and answers with the drain report when the run is over. */
  follow: z.boolean().default(false),
  budgetMs: z.int().nonnegative().optional(),
  ...scheduleShape,
});

const PLACE = 'a host such as "xmpp2.example.org" or "xmpp2.example.org:5222"';

/** Without a port clients take the usual one. */
function hasPort(place: string): boolean {
  const port = Number(/[^:]:(\d+)$/.exec(place)?.[1] ?? 5222);
  return port >= 1 && port <= 65_535;
}

export const evacuateArguments = z.strictObject({
  reason: z.string().max(1_000).default("the server is being evacuated"),
  /** Where clients are sent; without it they are asked to leave. */
  to: z
    .string()
    .max(1_024)
    .regex(/^(\[[0-9A-Fa-f:.]+\]|[^\s:@/<>&[\]]+)(:\d{1,5})?$/u, `expected ${PLACE}`)
    .refine(hasPort, "expected a port from 1 to 65535")
    .optional(),
  /** How many sessions a second. */
  pace: z.number().positive().max(100_000).default(DEFAULT_PACE),
  timeoutMs: z.int().positive().max(MAX_DELAY_MS, A_WEEK).default(600_000),
  onTimeout: z.enum(["back", "stay"]).default("stay"),
  /** Tells every step by `state` and `progress` events. */
  follow: z.boolean().default(false),
});

export const announceArguments = z.strictObject({
  text: announcement,
  /** Only to users of this host. */
  host: z.string().optional(),
});

/** Returns the delay and the announcement of a request. `delayMs` is the configured delay. */
export function scheduleOf(
  asked: { readonly delayMs?: number | undefined; readonly announcement?: string | undefined },
  delayMs: number,
): Pick<StopRequest, "delayMs" | "announcement"> {
  const { announcement: text } = asked;
  const delay = asked.delayMs ?? delayMs;
  if (text === undefined) return asked.delayMs === undefined ? {} : { delayMs: asked.delayMs };
  return { announcement: text, delayMs: Math.max(delay, LEAST_NOTICE_MS) };
}

/** Lets the caller follow the life cycle by events, until the returned function is called. */
export function follow(lifecycle: Pick<Lifecycle<PhaseName>, "on">, call: Call): () => void {
  const forgets = (["state", "phase", "progress"] as const).map((event) =>
    lifecycle.on(event, (payload) => call.emit(event, payload)),
  );
  return () => {
    for (const forget of forgets) forget();
  };
}
