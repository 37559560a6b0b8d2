// Connects to one of the places where a domain's service may be: the first that answers wins, without waiting long for
// those that do not (RFC 8305). Not for: XMPP, nor for finding the places (resolver.ts).

import { isIP } from "node:net";
import { domainToASCII } from "node:url";
import type { Clock } from "../util/clock.ts";
import { asError } from "../util/errors.ts";
import type { ResolveFailure, Resolver, Target } from "./resolver.ts";
import type { CertificateSource, Network, Transport } from "./transport.ts";

/** A connection, or why there is none. */
export type Dialled =
  | { readonly transport: Transport; readonly target: Target }
  /** `not-found`: the name does not resolve, or says that there is no such service. */
  | { readonly failure: "not-found" | "unreachable"; readonly reason: string };

export interface DiallerOptions {
  readonly network: Network;
  readonly resolver: Resolver;
  readonly clock: Clock;
  /** What is shown on targets with direct TLS; without it those are left out. */
  readonly certificates?: CertificateSource;
  /** How long an attempt may take before the next one begins beside it; 250 ms unless told (RFC 8305 §5). */
  readonly staggerMs?: number;
}

/** One address of one target. */
interface Place {
  readonly target: Target;
  readonly address: string;
}

const MAX_ATTEMPTS = 16;

/** Connects to domains. */
export class Dialler {
  #options: DiallerOptions;

  constructor(options: DiallerOptions) {
    this.#options = options;
  }

  /**
   * Looks the domain up and connects. With direct TLS the handshake has been done, in the name of `localName`. Rejects
   * only when `signal` aborts, with its reason; there is no other limit on the time it takes.
   */
  async connect(domain: string, signal: AbortSignal, localName?: string): Promise<Dialled> {
    signal.throwIfAborted();
    const targets = await abortable(this.#options.resolver.resolve(domain), signal);
    if ("failure" in targets) {
      return { failure: targets.failure === "timeout" ? "unreachable" : "not-found", reason: targets.reason };
    }
    return await new Race(this.#options, domain, localName, signal).run(this.#places(targets, signal));
  }

  /** Yields addresses in the order in which they are to be tried; hosts are looked up when their turn has come. */
  async *#places(targets: readonly Target[], signal: AbortSignal): AsyncGenerator<Place | ResolveFailure, void> {
    for (const target of targets) {
      if (target.directTls && this.#options.certificates === undefined) continue;
      const addresses = await abortable(this.#options.resolver.addresses(target.host), signal);
      if ("failure" in addresses) yield addresses;
      else for (const address of addresses) yield { target, address };
    }
  }
}

/** One race of attempts for one domain. */
class Race {
  #options: DiallerOptions;
  #domain: string;
  #localName: string | undefined;
  #signal: AbortSignal;
  #over = new AbortController();
  #won: Promise<Dialled>;
  #settle: (dialled: Dialled | Promise<Dialled>) => void = () => undefined;
  /** Attempts under way, and one for the search for places. */
  #running = 1;
  #attempts = 0;
  #reasons: string[] = [];
  #isNotFound = true;

  constructor(options: DiallerOptions, domain: string, localName: string | undefined, signal: AbortSignal) {
    this.#options = options;
    this.#domain = domain;
    this.#localName = localName;
    this.#signal = signal;
    this.#won = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  async run(places: AsyncGenerator<Place | ResolveFailure, void>): Promise<Dialled> {
    const giveUp = (): void => this.#over.abort(this.#signal.reason);
    this.#signal.addEventListener("abort", giveUp);
    try {
      // A fault in here must end the race too.
      this.#start(places).catch((thrown: unknown) => this.#settle(Promise.reject(asError(thrown))));
      return await abortable(this.#won, this.#signal);
    } finally {
      this.#signal.removeEventListener("abort", giveUp);
      this.#over.abort();
    }
  }

  async #start(places: AsyncGenerator<Place | ResolveFailure, void>): Promise<void> {
    for await (const place of places) {
      if ("failure" in place) {
        this.#reasons.push(place.reason);
        this.#isNotFound &&= place.failure === "not-found";
        continue;
      }
      if (this.#over.signal.aborted || this.#attempts >= MAX_ATTEMPTS) break;
      this.#attempts++;
      this.#running++;
      const attempt = this.#attempt(place);
      await this.#endOrStagger(attempt);
      if (this.#over.signal.aborted) break;
    }
    this.#finish();
  }

  /** Resolves when the attempt is over, when it has had its time, or when the race is over. */
  async #endOrStagger(attempt: Promise<void>): Promise<void> {
    const turn = new AbortController();
    const stop = (): void => turn.abort();
    this.#over.signal.addEventListener("abort", stop);
    await Promise.race([attempt, this.#options.clock.sleep(this.#options.staggerMs ?? 250, turn.signal)]);
    this.#over.signal.removeEventListener("abort", stop);
    turn.abort();
  }

  /** Tries one place; never rejects. */
  async #attempt({ target, address }: Place): Promise<void> {
    let transport: Transport | undefined;
    try {
      const { signal } = this.#over;
      transport = await this.#options.network.dial({ host: address, port: target.port, signal });
      if (target.directTls) await this.#handshake(transport);
      if (signal.aborted) transport.destroy();
      else this.#win({ transport, target });
    } catch (thrown) {
      transport?.destroy();
      this.#reasons.push(`${address} port ${target.port}: ${asError(thrown).message}`);
    }
    this.#finish();
  }

  async #handshake(transport: Transport): Promise<void> {
    const { certificates } = this.#options;
    if (certificates === undefined) return;
    const stop = (): void => transport.destroy();
    this.#over.signal.addEventListener("abort", stop);
    try {
      const serverName = tlsNameOf(this.#domain);
      const localName = this.#localName;
      await transport.startTls({ role: "client", certificates, serverName, localName, alpn: ["xmpp-server"] });
    } finally {
      this.#over.signal.removeEventListener("abort", stop);
    }
  }

  #win(dialled: Dialled): void {
    this.#settle(dialled);
    this.#over.abort();
  }

  /** Called at the end of each attempt, and once when there are no more to begin. */
  #finish(): void {
    if (--this.#running > 0) return;
    const reason = this.#reasons.slice(-3).join("; ") || `${this.#domain} has no address that could be tried`;
    const isNotFound = this.#attempts === 0 && this.#reasons.length > 0 && this.#isNotFound;
    this.#settle({ failure: isNotFound ? "not-found" : "unreachable", reason });
  }
}

/** Returns the name to ask for by SNI when `domain` is dialled: in ASCII (RFC 6066 §3), and an IP literal bare. */
export function tlsNameOf(domain: string): string {
  const literal = domain.replace(/^\[(.*)\]$/, "$1");
  return isIP(literal) === 0 ? domainToASCII(domain) || domain : literal;
}

/** Waits for `work`, or rejects when `signal` aborts; the work itself goes on unheard. */
async function abortable<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  let stop = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(asError(signal.reason));
  });
  signal.addEventListener("abort", stop);
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
