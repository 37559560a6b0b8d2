// The clients and components of a node-xmpp-server host: knows their sessions and listeners, and takes them down. It adds
// listeners to the host's objects and replaces nothing in them.

import type { PhaseContext } from "../../shutdown/types.ts";
import type { Clock } from "../../util/clock.ts";
import type { Logger } from "../../util/log.ts";
import { type Random, shuffle } from "../../util/random.ts";
import { type Parting, sayFarewell } from "./farewell.ts";
import { type HostConnection, type HostListener, type HostServer, type HostSession, listenerOf } from "./host-types.ts";

export interface ClientSideOptions {
  readonly servers: readonly HostServer[];
  /** Further listeners whose connections the owner hands to a server. */
  readonly listeners: readonly HostListener[];
  /** How many sessions are told at once. */
  readonly batch: number;
  /** The pause between two batches, in milliseconds. */
  readonly pauseMs: number;
  /** How long a client may take to close its stream, in milliseconds. */
  readonly clientTimeoutMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** How the sessions ended: the section `sessions` of the report. */
export interface ClosedHostSessions {
  /** The client answered `</stream:stream>`: it has read everything. */
  answered: number;
  /** The client closed its connection without answering. */
  unanswered: number;
  /** Out of time, or reset. */
  cut: number;
  /** The first hundred addresses of those that did not answer. */
  readonly named: string[];
}

const MAX_NAMED = 100;
const MAX_BLOCKERS = 5;
const NS_COMPONENT = "jabber:component:accept";
/** What the kernel may keep for us; no more is taken in once the stop has begun. */
const MAX_BACKLOG = 1_024;
const QUIET_TURNS = 2;

interface Known {
  readonly session: HostSession;
  readonly server: HostServer;
  /** The stream has been restarted and its new header is not sent yet. */
  isRestarting: boolean;
  farewell: Promise<void> | undefined;
  forget(): void;
}

/** The sessions and listeners of one host. */
export class ClientSide {
  readonly closed: ClosedHostSessions = { answered: 0, unanswered: 0, cut: 0, named: [] };
  #options: ClientSideOptions;
  #known = new Map<HostSession, Known>();
  #listeners: readonly HostListener[];
  #detach: (() => void)[] = [];
  /** Why new sessions are told to go, once the stop has begun. */
  #goodbye: PhaseContext | undefined;
  #accepted = 0;

  constructor(options: ClientSideOptions) {
    this.#options = options;
    const own = options.servers.map(({ server }) => listenerOf(server)).filter((listener) => listener !== undefined);
    this.#listeners = [...new Set([...own, ...options.listeners])];
    for (const server of options.servers) {
      for (const session of server.connections) this.#meet(session, server);
      const accepted = (session: unknown): void => this.#onConnection(session as HostSession, server);
      server.on("connection", accepted);
      this.#detach.push(() => server.removeListener("connection", accepted));
    }
  }

  /** Phase `stop-accepting`: takes in the backlog, closes the listeners, tells who has not logged in. */
  async stopAccepting(context: PhaseContext): Promise<void> {
    this.#goodbye = context;
    for (const known of this.#known.values()) {
      // Nobody waits for their answers before the next phase, which does.
      if (known.session.authenticated !== true) void this.#end(known, context);
    }
    await this.#closeListeners();
  }

  /** Phase `close-sessions`: ends every session, in shuffled batches. */
  async closeSessions(context: PhaseContext): Promise<void> {
    this.#goodbye = context;
    const { clock, random, batch, pauseMs } = this.#options;
    const all = shuffle([...this.#known.values()], random);
    const waiting = new Map<Known, Promise<void>>();
    let done = 0;
    const tell = (): void => {
      const blockers = waiting.size > MAX_BLOCKERS ? [] : [...waiting.keys()].map(nameOf);
      context.progress({ done, total: all.length, blockers });
    };
    for (const [index, known] of all.entries()) {
      const ending = this.#end(known, context).then(() => {
        done++;
        waiting.delete(known);
        tell();
      });
      waiting.set(known, ending);
      if ((index + 1) % batch === 0) await (pauseMs > 0 ? clock.sleep(pauseMs, context.signal) : clock.turn());
    }
    await Promise.all(waiting.values());
  }

  /** Destroys what is still connected and lets go of the host's objects. */
  destroy(): void {
    for (const { session } of this.#known.values()) {
      const { socket } = session.connection;
      if (socket?.destroy === undefined) socket?.end();
      else socket.destroy();
    }
    this.detach();
  }

  /** Takes every listener off again. */
  detach(): void {
    for (const off of this.#detach.splice(0)) off();
    for (const known of this.#known.values()) known.forget();
    this.#known.clear();
  }

  #onConnection(session: HostSession, server: HostServer): void {
    this.#accepted++;
    const known = this.#meet(session, server);
    if (this.#goodbye !== undefined) void this.#end(known, this.#goodbye);
  }

  #meet(session: HostSession, server: HostServer): Known {
    const { log } = this.#options;
    const { connection } = session;
    const close = (): void => {
      known.forget();
      this.#known.delete(session);
    };
    // Without a listener, EventEmitter throws what a session says is wrong with it: the process would end.
    const error = (thrown?: unknown): void => log.debug({ err: thrown, session: nameOf(known) }, "a session failed");
    const restart = (): void => {
      known.isRestarting = true;
    };
    const header = (): void => {
      known.isRestarting = false;
    };
    const listeners: readonly (readonly [HostSession | HostConnection, string, (...args: unknown[]) => void])[] = [
      [session, "close", close],
      [session, "error", error],
      // TLS and a successful login: the next thing is a new header, from both sides. Components have neither.
      ...(connection.xmlns?.[""] === NS_COMPONENT
        ? []
        : ([
            [connection, "connect", restart],
            [session, "auth-success", restart],
            [connection, "streamStart", header],
          ] as const)),
    ];
    const known: Known = {
      session,
      server,
      isRestarting: false,
      farewell: undefined,
      forget: () => {
        for (const [emitter, event, listener] of listeners) emitter.removeListener(event, listener);
        // Who has been told goodbye may still fail while the socket goes down.
        if (known.farewell !== undefined) session.on("error", error);
      },
    };
    for (const [emitter, event, listener] of listeners) emitter.on(event, listener);
    this.#known.set(session, known);
    return known;
  }

  /** Ends one session; a second call waits for the same end. */
  #end(known: Known, context: PhaseContext): Promise<void> {
    known.farewell ??= this.#sayFarewell(known, context);
    return known.farewell;
  }

  async #sayFarewell(known: Known, context: PhaseContext): Promise<void> {
    const { clock, clientTimeoutMs, log } = this.#options;
    const { session, server, isRestarting } = known;
    const domain = server.options?.domain;
    const isLoggedIn = session.authenticated === true;
    let parting: Parting = "cut";
    try {
      parting = await sayFarewell(session.connection, {
        clock,
        timeoutMs: Math.min(clientTimeoutMs, context.remaining()),
        signal: context.signal,
        reason: context.reason,
        isRestarting,
        ...(typeof domain === "string" ? { domain } : {}),
      });
    } catch (thrown) {
      // The host's code threw: this session is lost for us, the others are not.
      log.warn({ err: thrown, session: nameOf(known) }, "a session could not be ended in order");
      session.connection.socket?.destroy?.();
    }
    if (!isLoggedIn) return;
    this.closed[parting]++;
    if (parting !== "answered" && this.closed.named.length < MAX_NAMED) this.closed.named.push(nameOf(known));
  }

  /** Accepts who waits in the kernel's backlog, so that nobody is reset, and closes the listeners. */
  async #closeListeners(): Promise<void> {
    const { clock, log } = this.#options;
    const open = this.#listeners.filter(({ listening }) => listening);
    const atStart = this.#accepted;
    for (let quiet = 0; open.length > 0 && quiet < QUIET_TURNS && this.#accepted - atStart <= MAX_BACKLOG; ) {
      const before = this.#accepted;
      await clock.turn();
      quiet = this.#accepted === before ? quiet + 1 : 0;
    }
    for (const listener of open) {
      // The listening socket is closed when this returns; the callback comes when the last connection has gone.
      listener.close((error) => {
        if (error !== undefined) log.debug({ err: error }, "a listener was closed already");
      });
    }
  }
}

function nameOf({ session }: Known): string {
  return session.jid?.toString() ?? `login from ${session.connection.socket?.remoteAddress ?? "somebody"}`;
}
