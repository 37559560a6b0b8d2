// An XML stream under test and the raw other end of its connection, on a clock moved by hand.

import type { TransportEnd } from "../../src/net/transport.ts";
import type { StreamEnd, StreamHandler, StreamLimits, XmlStream } from "../../src/stream/contract.ts";
import { createXmlStream } from "../../src/stream/xml-stream.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";
import { MemoryNetwork, type MemoryNetworkOptions, type MemoryTransport } from "../../src/testing/memory-network.ts";
import { silentLog } from "../../src/util/log.ts";
import type { Element } from "../../src/xml/element.ts";

export const LIMITS: StreamLimits = {
  maxStanzaBytes: 10_000,
  maxDepth: 32,
  maxAttributes: 32,
  rate: 1e9,
  burst: 1e9,
};

/** The far end: what it was sent, and how it ended. */
export class RawEnd {
  readonly transport: MemoryTransport;
  received = "";
  finReceived = false;
  drains = 0;
  end: TransportEnd | undefined;

  constructor(transport: MemoryTransport) {
    this.transport = transport;
    transport.setReader({
      onData: (chunk) => {
        this.received += chunk.toString();
      },
      onEnd: () => {
        this.finReceived = true;
      },
      onDrain: () => {
        this.drains++;
      },
      onClose: (end) => {
        this.end = end;
      },
    });
  }

  /** Returns what came since the last call. */
  take(): string {
    const text = this.received;
    this.received = "";
    return text;
  }
}

/** A stream with everything it told its handler. */
export class StreamPair {
  readonly clock = new ManualClock();
  readonly far: RawEnd;
  readonly near: MemoryTransport;
  readonly stream: XmlStream;
  readonly seen: string[] = [];
  end: StreamEnd | undefined;
  drains = 0;
  /** What was logged as an error. */
  readonly errors: object[] = [];
  /** What the handler does with an element besides noting it. */
  handle: (element: Element) => void | Promise<void> = () => undefined;
  onHeader: () => void | Promise<void> = () => undefined;
  onOutputClosed: (how: "closed" | "broken") => void = () => undefined;
  onInputLost: () => void = () => undefined;

  constructor(limits: StreamLimits = LIMITS, options: Partial<MemoryNetworkOptions> = {}) {
    const [near, far] = new MemoryNetwork({ ...options, clock: this.clock }).pair();
    this.near = near;
    this.far = new RawEnd(far);
    const handler: StreamHandler = {
      onHeader: (header) => {
        this.seen.push(`header ${header.to}`);
        return this.onHeader();
      },
      onElement: (element) => {
        this.seen.push(element.name);
        return this.handle(element);
      },
      onPeerClosing: () => {
        this.seen.push("peer closing");
      },
      onDrain: () => {
        this.drains++;
      },
      onOutputClosed: (how) => {
        this.onOutputClosed(how);
      },
      onInputLost: () => {
        this.onInputLost();
      },
      onClosed: (end) => {
        this.seen.push("closed");
        this.end = end;
      },
    };
    this.stream = createXmlStream({
      transport: near,
      handler,
      clock: this.clock,
      limits,
      contentNamespace: "jabber:client",
      log: { ...silentLog, error: (fields) => this.errors.push(fields) },
      fallbackHeader: () => ({ from: "fallback.test", id: "f" }),
    });
  }

  /** Sends text from the far end and lets everything happen that follows from it now. */
  async say(text: string): Promise<void> {
    this.far.transport.write(text);
    await this.settle();
  }

  async settle(): Promise<void> {
    await this.clock.advance(0);
  }
}

/** A promise and the means to settle it. */
export function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}
