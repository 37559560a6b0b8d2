// The bounds of the configuration as connections and sessions have them. Not for: how many connections there may be
// (connection-limits.ts) or sessions may wait for their clients (resumption.ts).

import type { Config } from "../../config/schema.ts";
import type { StreamLimits } from "../../stream/contract.ts";

/** The bounds of a connection. */
export interface ConnectionBounds {
  /** Bounds for those who have not logged in, and for those who have. */
  readonly loginLimits: StreamLimits;
  readonly limits: StreamLimits;
}

/** The bounds of a session. */
export interface SessionBounds {
  /** Bytes that may wait for a client that does not read. */
  readonly maxUnread: number;
  /** Milliseconds a client may leave its full buffer unread. */
  readonly stallTimeoutMs: number;
  readonly closeTimeoutMs: number;
  /** How much a client may leave unacknowledged, in stanzas and in characters; from half of it on producers wait. */
  readonly maxUnacked: number;
  readonly maxUnackedSize: number;
  /** How long a client that was asked to acknowledge may keep silent, in milliseconds. */
  readonly ackTimeoutMs: number;
}

/** What a client may send at once before it has logged in, and then each second, in elements of the largest size. */
const LOGIN_ELEMENTS = 4;
/** Bounds that every known way to log in keeps by far. */
const LOGIN_DEPTH = 16;
const LOGIN_ATTRIBUTES = 32;

/** Returns the bounds of connections from now on. */
export function connectionBounds(config: Config["c2s"]): ConnectionBounds {
  return {
    loginLimits: {
      maxStanzaBytes: Math.min(config.max_login_size, config.max_stanza_size),
      maxDepth: Math.min(LOGIN_DEPTH, config.max_depth),
      maxAttributes: Math.min(LOGIN_ATTRIBUTES, config.max_attributes),
      rate: Math.min(LOGIN_ELEMENTS * config.max_login_size, config.rate),
      burst: Math.min(LOGIN_ELEMENTS * config.max_login_size, config.burst),
    },
    limits: {
      maxStanzaBytes: config.max_stanza_size,
      maxDepth: config.max_depth,
      maxAttributes: config.max_attributes,
      rate: config.rate,
      burst: config.burst,
    },
  };
}

/** Returns the bounds of sessions from now on. */
export function sessionBounds(config: Config["c2s"]): SessionBounds {
  return {
    maxUnread: config.max_unread,
    stallTimeoutMs: config.stall_timeout,
    closeTimeoutMs: config.close_timeout,
    maxUnacked: config.sm_max_queue,
    maxUnackedSize: config.sm_max_queue_size,
    ackTimeoutMs: config.sm_ack_timeout,
  };
}
