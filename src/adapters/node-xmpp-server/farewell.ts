// How one connection of a node-xmpp-server host is ended in order: what is said, for whose answer we wait, and what is
// done when none comes. It goes round `Connection.error()`, which throws when nobody listens for `error`, and round
// `end()`, which shuts the socket before the peer has read.

import type { Clock } from "../../util/clock.ts";
import type { HostConnection, HostSocket, HostStanza } from "./host-types.ts";

/** How a connection ended. */
export type Parting =
  /** The peer sent its closing tag: it has read everything. */
  | "answered"
  /** The peer ended the connection without one. */
  | "unanswered"
  /** Out of time, or reset. */
  | "cut";

export interface FarewellOptions {
  readonly clock: Clock;
  /** How long to wait for the peer. */
  readonly timeoutMs: number;
  /** Ends the wait early. */
  readonly signal: AbortSignal;
  /** Sends a `system-shutdown` with this text before the closing tag; without one there is only the closing tag. */
  readonly reason?: string;
  /** Whether a stream header has to go first although one had been sent, because the stream was restarted. */
  readonly isRestarting?: boolean;
  /** What the stream header is to name as sender, if nothing else is known. */
  readonly domain?: string;
}

const STREAM_ERRORS = "urn:ietf:params:xml:ns:xmpp-streams";
const STREAMS = "http://etherx.jabber.org/streams";
const FRAMING = "urn:ietf:params:xml:ns:xmpp-framing";
/** How long a connection that was ended may take until it is destroyed. */
const LINGER_MS = 100;

/** Says goodbye and resolves when the connection is gone, at the latest a moment after `timeoutMs`. Never rejects. */
export async function sayFarewell(connection: HostConnection, options: FarewellOptions): Promise<Parting> {
  const { socket } = connection;
  if (socket === undefined || socket === null || socket.destroyed === true) return "cut";
  const { clock, timeoutMs, signal } = options;
  let answered = false;
  let failed = false;
  const answer = (): void => {
    answered = true;
  };
  const failure = (): void => {
    failed = true;
  };
  const framedAnswer = (stanza: unknown): void => {
    if ((stanza as HostStanza).name !== "close") return;
    answered = true;
    socket.end();
  };
  const gone = new AbortController();
  const close = (): void => gone.abort();
  // The socket's own end and not the connection's, which tells nothing of a connection that was secured meanwhile.
  socket.once("close", close);
  socket.once("error", failure);
  const framing = framingOf(connection, socket);
  const { parser } = connection;
  if (framing === "websocket") connection.on("stanza", framedAnswer);
  else parser?.once("end", answer);
  if (socket.writable !== false) {
    speak[framing](connection, options);
    if (framing === "bosh") await clock.turn();
    if (framing === "bosh") socket.end();
  }
  const limit = AbortSignal.any([gone.signal, signal]);
  await clock.sleep(timeoutMs, limit);
  if (!gone.signal.aborted) {
    failed = true;
    socket.end();
    // What was written may still leave; a socket that does not even end is destroyed.
    await clock.sleep(LINGER_MS, gone.signal);
    socket.destroy?.();
  }
  socket.removeListener("close", close);
  socket.removeListener("error", failure);
  parser?.removeListener("end", answer);
  connection.removeListener("stanza", framedAnswer);
  if (answered) return "answered";
  return failed ? "cut" : "unanswered";
}

type Framing = "stream" | "websocket" | "bosh";

function framingOf(connection: HostConnection, socket: HostSocket): Framing {
  if (connection.streamOpen === "open") return "websocket";
  return typeof socket.destroy === "function" ? "stream" : "bosh";
}

const speak: Record<Framing, (connection: HostConnection, options: FarewellOptions) => void> = {
  stream(connection, { reason, isRestarting = false, domain }) {
    const isHandshaking = connection.socket?.encrypted === true && connection.isSecure !== true;
    if (connection.streamOpened !== true || isRestarting || isHandshaking) {
      if (domain !== undefined) connection.streamAttrs.from ??= domain;
      connection.openStream();
    }
    if (reason !== undefined) connection.send(`<stream:error>${systemShutdown(reason)}</stream:error>`);
    connection.closeStream();
  },
  // RFC 7395 §3: each frame declares its namespaces. closeStream() would send the bare word "close".
  websocket(connection, { reason }) {
    if (reason !== undefined) {
      const { streamOpened } = connection;
      if (streamOpened !== true) connection.openStream();
      connection.send(`<stream:error xmlns:stream='${STREAMS}'>${systemShutdown(reason)}</stream:error>`);
    }
    connection.send(`<close xmlns='${FRAMING}'/>`);
  },
  // There is no closing tag in BOSH, and a host has no way to send the terminating body (XEP-0124 §13) of itself.
  bosh(connection, { reason }) {
    if (reason === undefined) return;
    connection.send(`<stream:error xmlns:stream='${STREAMS}'>${systemShutdown(reason)}</stream:error>`);
  },
};

function systemShutdown(reason: string): string {
  const text = reason
    .replace(/[^\t\n\r\x20-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, "")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;");
  const condition = `<system-shutdown xmlns='${STREAM_ERRORS}'/>`;
  return text === "" ? condition : `${condition}<text xmlns='${STREAM_ERRORS}' xml:lang='en'>${text}</text>`;
}
