// Federation as the rest of the server sees it: stanzas for other domains go in by `send`, stanzas from them come out by
// `deliver`, and every stanza taken gets its fate. Makes the parts, owns the links and the inbound streams; how the links
// end at a shutdown is in drain.ts.

import type { Config } from "../../config/schema.ts";
import { type Dialled, Dialler } from "../../net/dial.ts";
import type { Resolver } from "../../net/resolver.ts";
import type { Accepted, CertificateSource, Listener, Network } from "../../net/transport.ts";
import type { ObligationSink, PhaseContext } from "../../shutdown/types.ts";
import type { Stanza } from "../../stanza/stanza.ts";
import { StanzaError } from "../../stanza/stanza-error.ts";
import { createXmlStream } from "../../stream/xml-stream.ts";
import type { Clock } from "../../util/clock.ts";
import { Deadline } from "../../util/deadline.ts";
import { asError } from "../../util/errors.ts";
import type { Logger } from "../../util/log.ts";
import type { Random } from "../../util/random.ts";
import { TimerWheel, type WheelTimeout } from "../../util/timer-wheel.ts";
import { NS } from "../../xml/ns.ts";
import { splitAddress } from "../address.ts";
import type { Connected, OpenStream, S2sContext } from "./context.ts";
import { DialGate } from "./dial-gate.ts";
import { DialbackKeys } from "./dialback-keys.ts";
import { DialbackVerifier } from "./dialback-verifier.ts";
import { Drain } from "./drain.ts";
import { Fates } from "./fates.ts";
import { IncomingStream } from "./incoming-stream.ts";
import { Pings } from "./pings.ts";
import { type LinkState, RemoteLink } from "./remote-link.ts";

/** Everything s2s needs from outside. */
export interface S2sOptions {
  readonly config: Config["s2s"];
  /** The domains served here, prepared. */
  readonly hosts: readonly string[];
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly network: Network;
  readonly resolver: Resolver;
  readonly certificates: CertificateSource;
  readonly obligations: ObligationSink;
  /** A wheel to share; without one s2s has its own. */
  readonly wheel?: TimerWheel;
  /** Takes an inbound stanza; a promise means that responsibility is not taken until it resolves. */
  readonly deliver: (stanza: Stanza) => void | Promise<void>;
  /** Tells a sender; false when nobody was there to be told. */
  readonly returnToSender: (stanza: Stanza, error: StanzaError) => boolean;
}

/** One link, as `status` tells of it. */
export interface LinkStatus {
  readonly local: string;
  readonly remote: string;
  readonly state: LinkState;
  readonly queued: number;
  readonly unproved: number;
}

/** What s2s says of itself. */
export interface S2sStatus {
  /** Streams to other servers that are open. */
  readonly outgoing: number;
  readonly incoming: number;
  /** Stanzas that have no fate yet. */
  readonly queued: number;
}

/** How often links that hold nothing are forgotten. */
const SWEEP_MS = 60_000;

/** Federation with other servers. */
export class S2s {
  #options: S2sOptions;
  #context: S2sContext;
  #fates: Fates;
  #pings: Pings;
  #gate: DialGate;
  #verifier: DialbackVerifier;
  #links = new Map<string, RemoteLink>();
  #incoming = new Set<IncomingStream>();
  #listeners: Listener[] = [];
  #sweep: WheelTimeout | undefined;
  #drain: Drain | undefined;
  #drained: Promise<void> | undefined;
  #destroyed = false;

  constructor(options: S2sOptions) {
    const { config, hosts, clock, random, log, network, resolver, certificates, obligations, deliver } = options;
    const wheel = options.wheel ?? new TimerWheel(clock, 250);
    const dialler = new Dialler({ network, resolver, clock, certificates });
    this.#options = options;
    this.#context = {
      config,
      hosts: new Set(hosts),
      clock,
      wheel,
      random,
      log,
      certificates,
      keys: new DialbackKeys(random),
      connect: (domain, local, signal) => connectInTime(dialler, domain, local, signal, wheel, config.connect_timeout),
      openStream: streamOpener(clock, config),
      deliver,
    };
    const onSettled = (): void => this.#drain?.check();
    this.#fates = new Fates({ obligations, returnToSender: options.returnToSender, onSettled });
    this.#pings = new Pings(random);
    this.#gate = new DialGate(config.max_dials, wheel);
    this.#verifier = new DialbackVerifier(this.#context);
  }

  /** Listens on every configured address. Rejects when one cannot be had; the others are closed again. */
  async start(): Promise<void> {
    try {
      for (const address of this.#options.config.listen) {
        const listener = await this.#options.network.listen(splitAddress(address), (accepted) =>
          this.#accept(accepted),
        );
        this.#listeners.push(listener);
      }
    } catch (thrown) {
      await this.#closeListeners();
      throw thrown;
    }
    this.#sweep = this.#context.wheel.add(SWEEP_MS, () => this.#forgetIdleLinks());
  }

  /** Where it listens, as `host:port`. */
  get listening(): readonly string[] {
    return this.#listeners.map(({ host, port }) => (host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`));
  }

  /**
   * Takes over a stanza whose `to` is at another domain and whose `from` is at one of our hosts. It never waits: what
   * does not fit comes back as an error.
   */
  send(stanza: Stanza): void {
    if (stanza.to === undefined) return;
    const local = stanza.from.domain;
    const remote = stanza.to.domain;
    const owed = this.#fates.take(stanza, remote);
    if (this.#destroyed || !this.#options.config.enabled || !this.#context.hosts.has(local)) {
      return this.#fates.giveBackOrLose(owed, new StanzaError("remote-server-not-found"));
    }
    const link = this.#link(local, remote);
    if (link === undefined) {
      return this.#fates.giveBackOrLose(owed, new StanzaError("remote-server-timeout", "the server is shutting down"));
    }
    link.send(owed);
  }

  /** Looks at an IQ result or error for one of our hosts; true when it answered a question of ours. */
  onIqAnswer(stanza: Stanza): boolean {
    return this.#pings.answer(stanza);
  }

  /**
   * Takes part in `drain-s2s`: resolves when every stanza taken has its fate, the inbound streams have been read to
   * their end, and all streams and listeners are closed; or when the context's time is over, and then what is left is
   * lost by name. Afterwards `send` refuses.
   */
  drain(context: PhaseContext): Promise<void> {
    this.#drained ??= this.#runDrain(context);
    return this.#drained;
  }

  /** Drains outside a pipeline, in `timeoutMs`. */
  async close({ timeoutMs }: { readonly timeoutMs: number }): Promise<void> {
    const deadline = new Deadline(this.#options.clock, timeoutMs);
    try {
      await this.drain({
        phase: "drain-s2s",
        cause: "stop",
        reason: "",
        signal: deadline.signal,
        remaining: () => deadline.remaining(),
        lease: (name) => ({ name, release: () => undefined }),
        progress: () => undefined,
      });
    } finally {
      deadline.cancel();
    }
  }

  /** Ends everything now; what has no fate is lost by name. */
  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    this.#sweep?.cancel();
    this.#verifier.destroy();
    for (const link of this.#links.values()) link.destroy();
    for (const stream of this.#incoming) stream.destroy();
    this.#drain?.check();
    this.#closeListeners().catch((thrown: unknown) => {
      this.#context.log.error({ error: asError(thrown).message }, "s2s: closing a listener failed");
    });
  }

  /** Counts, for the status of the server. */
  status(): S2sStatus {
    let outgoing = 0;
    for (const link of this.#links.values()) if (link.state === "open") outgoing++;
    return { outgoing, incoming: this.#incoming.size, queued: this.#fates.outstanding };
  }

  /** Every link, for operators. */
  links(): readonly LinkStatus[] {
    return Array.from(this.#links.values(), ({ local, remote, state, queued, unproved }) => {
      return { local, remote, state, queued, unproved };
    });
  }

  async #runDrain(context: PhaseContext): Promise<void> {
    this.#sweep?.cancel();
    const drain = new Drain({
      phase: context,
      clock: this.#options.clock,
      config: this.#options.config,
      fates: this.#fates,
      links: this.#links,
      incoming: this.#incoming,
      closeListeners: () => this.#closeListeners(),
    });
    this.#drain = drain;
    await drain.run();
    this.destroy();
  }

  #link(local: string, remote: string): RemoteLink | undefined {
    const name = `${local} ${remote}`;
    const known = this.#links.get(name);
    if (known !== undefined) return known;
    if (this.#drain?.isFinal) return undefined;
    const options = { context: this.#context, local, remote, fates: this.#fates, pings: this.#pings, gate: this.#gate };
    const link = new RemoteLink(options);
    this.#links.set(name, link);
    this.#drain?.hurry(link);
    return link;
  }

  #accept(accepted: Accepted): void {
    if (this.#destroyed || this.#incoming.size >= this.#options.config.max_connections) {
      this.#context.log.warn({ address: accepted.transport.remoteAddress }, "s2s: too many inbound connections");
      accepted.ready.catch(() => undefined);
      accepted.transport.destroy();
      return;
    }
    const onOver = (stream: IncomingStream): void => {
      this.#incoming.delete(stream);
    };
    const stream = new IncomingStream({ context: this.#context, accepted, verifier: this.#verifier, onOver });
    this.#incoming.add(stream);
    this.#drain?.onAccepted(stream);
  }

  async #closeListeners(): Promise<void> {
    const listeners = this.#listeners;
    this.#listeners = [];
    await Promise.all(listeners.map((listener) => listener.close()));
  }

  #forgetIdleLinks(): void {
    const now = this.#context.clock.now();
    for (const [name, link] of this.#links) if (link.isDisposable(now)) this.#links.delete(name);
    this.#sweep?.restart();
  }
}

/** Connects within `timeoutMs`; what takes longer is unreachable. */
async function connectInTime(
  dialler: Dialler,
  domain: string,
  local: string,
  signal: AbortSignal,
  wheel: TimerWheel,
  timeoutMs: number,
): Promise<Connected> {
  const limit = new AbortController();
  const stop = (): void => limit.abort();
  signal.addEventListener("abort", stop);
  const timer = wheel.add(timeoutMs, stop);
  try {
    if (signal.aborted) stop();
    const dialled: Dialled = await dialler.connect(domain, limit.signal, local);
    return dialled;
  } catch (thrown) {
    return { failure: "unreachable", reason: limit.signal.aborted ? "no connection in time" : asError(thrown).message };
  } finally {
    timer.cancel();
    signal.removeEventListener("abort", stop);
  }
}

function streamOpener(clock: Clock, config: Config["s2s"]): OpenStream {
  const limits = {
    maxStanzaBytes: config.max_stanza_size,
    maxDepth: config.max_depth,
    maxAttributes: config.max_attributes,
    rate: config.rate,
    burst: config.burst,
  };
  const closeTimeoutMs = config.close_timeout;
  return (transport, handler) =>
    createXmlStream({ transport, clock, contentNamespace: NS.server, limits, closeTimeoutMs, handler });
}
