// Whether the server wants new clients, and if not, why: what /ready answers, and what balancers go by.

import type { LifecycleState, StopRequest } from "../shutdown/types.ts";

/** What readiness depends on; `Lifecycle` satisfies it. */
export interface Readable {
  readonly state: LifecycleState;
  /** What was asked for, from the very moment it was. */
  readonly request: StopRequest | undefined;
}

/** Tells whether new clients are welcome: the server runs, and nobody has asked it to stop. */
export function isReady(lifecycle: Readable): boolean {
  return whyNotReady(lifecycle) === undefined;
}

/** Returns why new clients are not welcome, without anything that operators wrote; undefined when they are. */
export function whyNotReady({ state, request }: Readable): string | undefined {
  if (request !== undefined) return `${state}: a ${request.cause} was asked for`;
  return state === "running" ? undefined : state;
}
