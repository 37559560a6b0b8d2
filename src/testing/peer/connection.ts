// One connection of a scripted peer: the stream's parser straight on the transport, without the manners of the server's own
// XmlStream, so that a test can break every rule of it. What the peer says on it is in inbound.ts and outbound.ts.

import type { CertificateSource, Transport, TransportEnd } from "../../net/transport.ts";
import type { Clock, Timer } from "../../util/clock.ts";
import type { Element } from "../../xml/element.ts";
import { NS } from "../../xml/ns.ts";
import { type StreamHeader, StreamParser, type XmlFault } from "../../xml/stream-parser.ts";
import type { PeerRecord, SeenKind } from "./record.ts";
import type { Act, Rule, Rules, Step } from "./script.ts";

const LIMITS = { maxStanzaBytes: 16_000_000, maxDepth: 256, maxAttributes: 256 };

/** What a peer is able to do. All of it can be changed while it runs. */
export interface Abilities {
  /** STARTTLS, offered and used; needs a certificate. */
  tls: boolean;
  /** SASL EXTERNAL, offered to and used with whoever has a certificate that is trusted. */
  external: boolean;
  dialback: boolean;
  /** Acknowledgements (XEP-0198), offered and used. */
  sm: boolean;
  /** `1.0`; empty for a server from before XMPP 1.0, which has no features. */
  version: string;
  /** Further features, as XML. */
  features: string;
}

/** What all connections of a peer share. */
export interface PeerContext {
  readonly domain: string;
  readonly clock: Clock;
  readonly rules: Rules;
  readonly record: PeerRecord;
  readonly abilities: Abilities;
  readonly certificates: CertificateSource | undefined;
  /** Makes the key of a stream from us (XEP-0185). */
  key(receiving: string, streamId: string): string;
  /** Finds out whether a key that `remote` showed is its own. */
  verify(remote: string, streamId: string, key: string): Promise<boolean>;
  /** Whether every key is as good as one's own. */
  readonly trusting: boolean;
  nextId(): string;
  /** Takes a stanza; `from` has been authenticated. */
  onStanza(element: Element, connection: PeerConnection): void;
  /** Sends a stanza on a stream of our own. */
  send(xml: string): void;
}

/** What to do when a step is due. */
export interface StepActs {
  readonly ordinary: (rule: Rule) => void;
  /** What "no" is in the protocol; nothing at all unless given. */
  readonly refuse?: () => void;
  readonly element?: Element;
}

/** One connection, accepted or dialled. */
export abstract class PeerConnection {
  /** 1 for the peer's first connection. */
  readonly number: number;
  readonly side: "in" | "out";
  readonly transport: Transport;
  /** The server's latest opening tag. */
  header: StreamHeader | undefined;
  /** Stanzas that were taken since acknowledgements were agreed on, or since the beginning. */
  handled = 0;
  /** The server has sent its closing tag. */
  closedByServer = false;
  /** The connection is gone. */
  over = false;
  protected readonly context: PeerContext;
  #parser: StreamParser;
  #timers = new Set<Timer>();
  /** What is done when reading goes on. */
  #postponed: (() => void)[] = [];
  #closingTagSent = false;
  #isEnded = false;

  constructor(context: PeerContext, transport: Transport, { number, side }: { number: number; side: "in" | "out" }) {
    this.context = context;
    this.transport = transport;
    this.number = number;
    this.side = side;
    this.#parser = new StreamParser(
      {
        onHeader: (header) => {
          this.header = header;
          this.note("header", headerText(header));
          this.onHeader(header);
        },
        onElement: (element) => {
          if (this.over) return;
          this.context.record.add({ ...this.#name, kind: "element", text: "", element });
          this.onElement(element);
        },
        onEndTag: () => {
          this.closedByServer = true;
          this.note("closing-tag");
          this.step("closing", { ordinary: () => this.#answerClose() });
        },
        onFault: (fault) => this.#onFault(fault),
      },
      LIMITS,
    );
    this.note("connected", `${transport.remoteAddress}:${transport.remotePort}`);
  }

  /** Writes text as it is. After the closing tag, or once the connection is gone, it is lost. */
  send(text: string): void {
    if (this.over || this.#isEnded) return;
    this.note("sent", text);
    this.transport.write(text);
  }

  /** Sends the closing tag, once; the server's answer ends the connection. */
  close(): void {
    if (this.#closingTagSent) return;
    this.#closingTagSent = true;
    this.send("</stream:stream>");
    if (this.closedByServer) this.halfClose();
  }

  /** Ends our side of the connection (FIN); reading goes on. */
  halfClose(): void {
    if (this.#isEnded || this.over) return;
    this.#isEnded = true;
    this.note("ended");
    this.transport.end();
  }

  /** Breaks the connection: the server sees a reset. */
  reset(): void {
    this.#abandon("reset");
    this.transport.reset();
  }

  /** Tears the connection down: the server sees an end, or a reset if it had sent what was not read. */
  destroy(): void {
    this.#abandon("destroyed");
    this.transport.destroy();
  }

  /** Reads nothing more, not even what has come already: the server feels back-pressure. */
  stopReading(): void {
    this.#parser.pause();
    this.transport.pause();
  }

  /** Does the step at which it stopped, and reads again. */
  goOn(): void {
    for (const step of this.#postponed.splice(0)) step();
    this.#parser.resume();
    this.transport.resume();
  }

  /** The connection is there; called once. @internal */
  accepted(): void {
    this.step("accept", { ordinary: () => this.begin(), refuse: () => this.reset() });
  }

  protected begin(): void {
    this.transport.setReader({
      onData: (chunk) => {
        if (!this.over) this.#parser.write(chunk);
      },
      onEnd: () => {
        this.note("end");
        this.step("end", { ordinary: () => this.halfClose() });
      },
      onDrain: () => undefined,
      onClose: (end) => this.#onClose(end),
    });
  }

  protected abstract onHeader(header: StreamHeader): void;
  protected abstract onElement(element: Element): void;
  /** The connection is gone. */
  protected abstract onOver(): void;

  /** Does a step as the script has it, now or later. */
  protected step(step: Step, acts: StepActs): void {
    const rule = this.context.rules.take(step, this.side);
    this.later(rule.delayMs ?? 0, () => this.#act(rule.act ?? "ordinary", rule, acts));
  }

  /** Does something after a while, unless the connection is gone by then. */
  protected later(ms: number, run: () => void): void {
    if (this.over) return;
    if (ms <= 0) return run();
    const timer = this.context.clock.setTimer(ms, () => {
      this.#timers.delete(timer);
      run();
    });
    this.#timers.add(timer);
  }

  /** The server's next words begin a stream; `drop` forgets what came already. */
  protected restart(drop: boolean): void {
    this.#parser.reset(drop);
  }

  /** Writes something down. @internal */
  note(kind: SeenKind, text = ""): void {
    this.context.record.add({ ...this.#name, kind, text });
  }

  /** Sends an opening tag. */
  protected open(attrs: Readonly<Record<string, string>>): void {
    const { version } = this.context.abilities;
    const all = Object.entries({ ...attrs, ...(version === "" ? {} : { version }) });
    const written = all.map(([name, value]) => ` ${name}='${value}'`).join("");
    const spaces = `xmlns='${NS.server}' xmlns:stream='${NS.streams}' xmlns:db='${NS.dialback}'`;
    this.send(`<?xml version='1.0'?><stream:stream ${spaces}${written}>`);
  }

  get #name(): { connection: number; side: "in" | "out" } {
    return { connection: this.number, side: this.side };
  }

  #act(act: Act, rule: Rule, acts: StepActs): void {
    const { ordinary, refuse, element } = acts;
    if (typeof act === "function") return this.#act(act(this, element) ?? "ignore", rule, acts);
    if (typeof act === "object") return this.send(act.say);
    switch (act) {
      case "ordinary":
        return ordinary(rule);
      case "ignore":
        return;
      case "refuse":
        return refuse?.();
      case "reset":
        return this.reset();
      case "half-close":
        return this.halfClose();
      case "stop-reading":
        this.#postponed.push(() => ordinary(rule));
        return this.stopReading();
      case "close":
        return this.close();
    }
  }

  #answerClose(): void {
    this.close();
    this.halfClose();
  }

  #onFault({ condition, text }: XmlFault): void {
    this.note("fault", `${condition}${text === undefined ? "" : ` ${text}`}`);
    this.close();
    this.halfClose();
  }

  #onClose({ orderly, error }: TransportEnd): void {
    this.#abandon(error === undefined ? (orderly ? "in order" : "cut") : error.message);
  }

  #abandon(how: string): void {
    if (this.over) return;
    this.over = true;
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
    this.#parser.stop();
    this.note("over", how);
    this.onOver();
  }
}

function headerText({ from, to, id, version }: StreamHeader): string {
  return Object.entries({ from, to, id, version })
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${value}`)
    .join(" ");
}
