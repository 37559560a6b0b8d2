// The few members of node-xmpp-server's objects that the adapter touches, as types of our own (the package has none), and
// the check that what a host's owner hands over really has them.

import { MorendoError } from "../../util/errors.ts";

/** What everything here has from EventEmitter. */
export interface Emitter {
  on(event: string, listener: (...args: unknown[]) => void): unknown;
  once(event: string, listener: (...args: unknown[]) => void): unknown;
  removeListener(event: string, listener: (...args: unknown[]) => void): unknown;
}

/** What carries a connection: a `net.Socket` or `tls.TLSSocket`, or node-xmpp-server's own for WebSocket and BOSH. */
export interface HostSocket extends Emitter {
  readonly writable?: boolean;
  readonly destroyed?: boolean;
  /** Not yet connected. */
  readonly connecting?: boolean;
  /** Over TLS, also while its handshake is under way. */
  readonly encrypted?: boolean;
  readonly remoteAddress?: string | undefined;
  end(): unknown;
  /** Absent in the sockets for WebSocket and BOSH. */
  destroy?(): unknown;
}

/** The value of an attribute: often a text, sometimes a JID. */
export type HostAttribute = { toString(): string } | null | undefined;

/** One stanza, as ltx has it. */
export interface HostStanza {
  readonly name?: string;
  readonly attrs?: Readonly<Record<string, HostAttribute>>;
  root?(): HostStanza;
}

/** node-xmpp-core's Connection: an XML stream. */
export interface HostConnection extends Emitter {
  socket?: HostSocket | null;
  /** Ends with the peer's closing tag. */
  readonly parser?: Emitter | null;
  readonly streamOpened?: boolean;
  readonly isSecure?: boolean;
  /** `open` with WebSocket framing. */
  readonly streamOpen?: string;
  readonly streamAttrs: Record<string, unknown>;
  readonly xmlns?: Readonly<Record<string, unknown>>;
  openStream(): unknown;
  closeStream(): unknown;
  send(text: string): unknown;
}

/** The session of a client or a component. */
export interface HostSession extends Emitter {
  readonly jid?: { toString(): string } | undefined;
  readonly authenticated?: boolean;
  readonly connection: HostConnection;
}

/** A listening `net.Server` or `http.Server`. */
export interface HostListener extends Emitter {
  readonly listening: boolean;
  close(callback?: (error?: Error) => void): unknown;
}

/** A `C2S.TCPServer`, `C2S.WebSocketServer`, `C2S.BOSHServer` or `component.Server`. */
export interface HostServer extends Emitter {
  readonly connections: Iterable<HostSession>;
  /** Its listener, or for BOSH what holds it. */
  readonly server?: unknown;
  readonly options?: { readonly domain?: unknown };
}

/** A stream to or from another server. */
export interface HostStream extends HostConnection {
  /** What waits for the stream to be authenticated. */
  readonly queue?: readonly HostStanza[];
}

/** What a Router knows of one of its own domains. */
export interface HostDomain {
  readonly s2sIn: Readonly<Record<string, HostStream>>;
  readonly s2sOut: Readonly<Record<string, HostStream>>;
  /** Takes what comes for the domain, returned stanzas included. */
  readonly stanzaListener?: unknown;
}

/** A `Router`: the server-to-server side. */
export interface HostRouter extends Emitter {
  readonly ctxs: Readonly<Record<string, HostDomain>>;
  readonly _server?: unknown;
  send(stanza: HostStanza): unknown;
}

/** Throws `MORENDO_NOT_A_HOST` unless `value` is a server of node-xmpp-server. */
export function checkServer(value: unknown, name: string): asserts value is HostServer {
  const missing = missingIn(value, ["on", "once", "removeListener"]);
  if (missing !== undefined) refuse(name, "a C2S or component server of node-xmpp-server", missing);
  if (!(Reflect.get(value as object, "connections") instanceof Set)) {
    refuse(name, "a C2S or component server of node-xmpp-server", "a Set `connections`");
  }
}

/** Throws `MORENDO_NOT_A_HOST` unless `value` is a Router of node-xmpp-server. */
export function checkRouter(value: unknown): asserts value is HostRouter {
  const missing = missingIn(value, ["send", "on"]);
  if (missing !== undefined) refuse("router", "a Router of node-xmpp-server", missing);
  const contexts: unknown = Reflect.get(value as object, "ctxs");
  if (typeof contexts !== "object" || contexts === null) {
    refuse("router", "a Router of node-xmpp-server", "an object `ctxs`");
  }
}

/** Throws `MORENDO_NOT_A_HOST` unless `value` is a `net.Server` or the like. */
export function checkListener(value: unknown, name: string): asserts value is HostListener {
  if (!isListener(value)) refuse(name, "a net.Server", missingIn(value, ["on", "close"]) ?? "a boolean `listening`");
}

/** Returns the `net.Server` behind a server or Router, which for BOSH is one level further down. */
export function listenerOf(owner: unknown): HostListener | undefined {
  if (isListener(owner)) return owner;
  if (typeof owner !== "object" || owner === null) return undefined;
  const inner: unknown = Reflect.get(owner, "server");
  return isListener(inner) ? inner : undefined;
}

function isListener(value: unknown): value is HostListener {
  return (
    missingIn(value, ["on", "once", "close"]) === undefined &&
    typeof Reflect.get(value as object, "listening") === "boolean"
  );
}

/** Says what `value` lacks, if anything. */
function missingIn(value: unknown, methods: readonly string[]): string | undefined {
  if (typeof value !== "object" || value === null) return "an object";
  const missing = methods.find((method) => typeof Reflect.get(value, method) !== "function");
  return missing === undefined ? undefined : `a method \`${missing}\``;
}

function refuse(name: string, expected: string, missing: string): never {
  throw new MorendoError("MORENDO_NOT_A_HOST", `${name}: expected ${expected}, but it has not ${missing}`);
}
