// What every part of s2s shares: its configuration, the ways to the outside, and the few words the parts say to each
// other. Only types and one small class; s2s.ts fills it in.

import type { Config } from "../../config/schema.ts";
import type { CertificateSource, TlsInfo, Transport } from "../../net/transport.ts";
import type { Stanza } from "../../stanza/stanza.ts";
import type { StreamCondition } from "../../stanza/stream-error.ts";
import type { StreamEnd, StreamHandler, StreamHeader, XmlStream } from "../../stream/contract.ts";
import type { Clock } from "../../util/clock.ts";
import type { Logger } from "../../util/log.ts";
import type { Random } from "../../util/random.ts";
import type { TimerWheel } from "../../util/timer-wheel.ts";
import type { Element } from "../../xml/element.ts";
import type { DialbackKeys } from "./dialback-keys.ts";

/** The result of looking a domain up and connecting to one of its addresses. */
export type Connected =
  | { readonly transport: Transport }
  /** `not-found`: the name does not resolve, or says that there is no such service. */
  | { readonly failure: "not-found" | "unreachable"; readonly reason: string };

/** Connects to a domain's s2s service in the name of a local host. Never rejects; aborted, it is `unreachable`. */
export type Connect = (domain: string, local: string, signal: AbortSignal) => Promise<Connected>;

/** Puts an XML stream on a transport. */
export type OpenStream = (transport: Transport, handler: StreamHandler) => XmlStream;

/** What the parts of s2s share. */
export interface S2sContext {
  readonly config: Config["s2s"];
  readonly hosts: ReadonlySet<string>;
  readonly clock: Clock;
  /** It stands still while the server is suspended. */
  readonly wheel: TimerWheel;
  /** It goes on meanwhile. */
  readonly steadyWheel: TimerWheel;
  readonly random: Random;
  readonly log: Logger;
  readonly certificates: CertificateSource;
  readonly keys: DialbackKeys;
  readonly connect: Connect;
  readonly openStream: OpenStream;
  /** Why `remote` may not send to `local` on new streams at present, if it may not. */
  readonly refusal: (remote: string, local: string) => string | undefined;
  /** Takes an inbound stanza; a promise is to be waited for before the next one. */
  readonly deliver: (stanza: Stanza) => void | Promise<void>;
}

/** An inbound stream, as the parts that it is made of see it. */
export interface InboundOwner {
  /** How many pairs of domains are authenticated on it. */
  readonly pairCount: number;
  readonly tls: TlsInfo | undefined;
  /** Whether stanzas from `remote` to `local` are taken. */
  isPair(remote: string, local: string): boolean;
  /** Sends text; what comes from a peer that does not read our answers is read later. */
  send(text: string): void;
  /** From now on stanzas from `remote` to `local` are taken; `how` is for the log. */
  authenticated(remote: string, local: string, how: string): void;
  /** Ends the stream with an error. */
  end(condition: StreamCondition, text?: string): void;
}

/** A stream handler that hands on to another, which can change while the stream lives. */
export class HandlerSwitch implements StreamHandler {
  target: StreamHandler;

  constructor(target: StreamHandler) {
    this.target = target;
  }

  onHeader(header: StreamHeader): void | Promise<void> {
    return this.target.onHeader(header);
  }

  onElement(element: Element): void | Promise<void> {
    return this.target.onElement(element);
  }

  onPeerClosing(): void {
    this.target.onPeerClosing();
  }

  onDrain(): void {
    this.target.onDrain();
  }

  onClosed(end: StreamEnd): void {
    this.target.onClosed(end);
  }
}
