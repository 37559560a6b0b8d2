// The successor's side of a restart: what it was passed, the state it is handed, and the steps by which it takes over.
// The predecessor serves until the last of them. The life cycle is told in index.ts.

import { createHash, type Hash } from "node:crypto";
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Clock } from "../util/clock.ts";
import { asError } from "../util/errors.ts";
import { Channel, encode, type Incoming } from "./channel.ts";
import { crashReporter, forgetReporterOptions } from "./crash-reporter.ts";
import { isSocket } from "./descriptors.ts";
import {
  type AcceptedSection,
  clip,
  type FromPredecessor,
  type HandoverErrorKind,
  handoverError,
  isObject,
  PROTOCOL_VERSION,
  readFromPredecessor,
} from "./protocol.ts";
import { type Take, takeRelayed } from "./relay.ts";
import { type PassedListener, VARIABLE } from "./successor-process.ts";

/** How one section of state is read. */
export interface SectionReader<Item> {
  /** The versions of the format that `read` understands. */
  readonly versions: readonly number[];
  /** Without it the start is refused; otherwise it is no fault when the predecessor does not have it. */
  readonly required?: boolean;
  /** Checks one item as it came and returns what it means. What it throws makes the restart fail. */
  read(value: unknown, version: number): Item;
}

/** A section as it was read. */
export interface ReceivedSection<Item> {
  readonly version: number;
  readonly items: readonly Item[];
}

/** What came of `receiveState`. */
export type ReceivedState<Readers extends SectionReaders> =
  | { readonly complete: true; readonly sections: ReceivedSections<Readers> }
  /** The predecessor died before it had written all of it: there is no state, only the listeners. */
  | { readonly complete: false };

/** Readers by the name of their section. */
export type SectionReaders = Readonly<Record<string, SectionReader<unknown>>>;

/** The sections that came, by name. */
export type ReceivedSections<Readers extends SectionReaders> = {
  readonly [Name in keyof Readers]?: ReceivedSection<ReturnType<Readers[Name]["read"]>>;
};

/** Why a step is over: the predecessor agrees, or it has died and somebody has to serve. Both mean: go on. */
export type Consent = "agreed" | "orphaned";

/** What an `Inheritance` is made of. */
export interface InheritanceOptions {
  /** Usually `process.env`. What tells of the inheritance is removed from it. */
  readonly environment: Record<string, string | undefined>;
  readonly clock: Clock;
  /** How long the predecessor may take for one answer; a minute unless told: longer than it gives itself for all. */
  readonly limitMs?: number;
}

/**
 * Returns what this process inherits from a predecessor, or undefined when it was started plainly. Call it once, early.
 * Throws `MORENDO_HANDOVER_ENVIRONMENT` when there is something but it cannot be used.
 */
export function inheritance(options: InheritanceOptions): Inheritance | undefined {
  const { environment } = options;
  const text = environment[VARIABLE];
  if (text === undefined) return undefined;
  // Processes that we start are nobody's successors.
  delete environment[VARIABLE];
  forgetReporterOptions(environment);
  const passed = parseVariable(text);
  for (const fd of [passed.channel, ...passed.listeners.map((listener) => listener.fd)]) {
    if (!isSocket(fd)) throw handoverError("ENVIRONMENT", `${VARIABLE}: descriptor ${fd} is not an open socket`);
  }
  const channel = new Socket({ fd: passed.channel, readable: true, writable: true });
  // A start that ends before it asks for the state (bad configuration) is not held up by it.
  channel.unref();
  return new Inheritance({ ...options, ...passed, channel });
}

/** What has been inherited, and the way to take over. Each step is called once, in the order in which they stand here. */
export class Inheritance {
  /** The listening sockets; whoever does not use one closes it (`closeListener`). */
  readonly listeners: readonly PassedListener[];
  /** The process that we follow. */
  readonly predecessor: number;
  #stream: Duplex;
  #channel: Channel<FromPredecessor>;
  #clock: Clock;
  #limitMs: number;
  #step: "new" | "receiving" | "received" | "preparing" | "committed" | "announcing" | "over" = "new";
  #items = 0;
  #relayed: Promise<void> = Promise.resolve();

  constructor(options: {
    readonly channel: Duplex;
    readonly clock: Clock;
    readonly listeners: readonly PassedListener[];
    readonly predecessor: number;
    readonly limitMs?: number;
  }) {
    this.listeners = options.listeners;
    this.predecessor = options.predecessor;
    this.#stream = options.channel;
    this.#channel = new Channel(options.channel, readFromPredecessor);
    this.#clock = options.clock;
    this.#limitMs = options.limitMs ?? 60_000;
  }

  /**
   * Says that this process has started up as far as it can without the state, and reads the state. The predecessor
   * serves on until this is called, and stands still from then on. When anything about the state is wrong, the
   * predecessor is told and this throws: `MORENDO_HANDOVER_STATE`, `_PROTOCOL`, `_TIMEOUT` or, when the predecessor has
   * called the restart off, `_ABORTED`; the process must then end without having served.
   */
  receiveState<Readers extends SectionReaders>(readers: Readers): Promise<ReceivedState<Readers>> {
    return this.#take("new", "receiving", async () => {
      if (this.#stream instanceof Socket) this.#stream.ref();
      const sections: Record<string, AcceptedSection> = {};
      for (const [name, { versions, required = false }] of Object.entries(readers))
        sections[name] = { versions, required };
      await this.#channel.send(encode({ type: "hello", protocol: PROTOCOL_VERSION, pid: process.pid, sections }));
      const received = await this.#readSections(readers);
      this.#step = received === undefined ? "committed" : "received";
      return received === undefined
        ? { complete: false }
        : // Each section was read by the reader of its name.
          { complete: true, sections: Object.fromEntries(received) as ReceivedSections<Readers> };
    });
  }

  /**
   * Says that the state is valid and everything that can fail has been done, short of serving. Resolves when the
   * predecessor has given its consent to serve, or has died. Throws as `receiveState` does. After a state that was not
   * complete there is nobody to ask: it resolves at once.
   */
  prepared(): Promise<Consent> {
    if (this.#step === "committed") return Promise.resolve("orphaned");
    return this.#take("received", "preparing", async () => {
      await this.#channel.send(encode({ type: "prepared", items: this.#items }));
      const consent = await this.#consent("commit");
      this.#step = "committed";
      return consent;
    });
  }

  /**
   * Says that this process accepts connections. Resolves when the service is ours for good: the predecessor has passed it
   * on, or has died. Nothing may be done before that others could not be asked to forget: connections may be accepted, but
   * nobody is let in. Throws as `receiveState` does. What still reaches the predecessor afterwards is given to `take`, if
   * there is one.
   */
  serving(take?: Take): Promise<Consent> {
    return this.#take("committed", "announcing", async () => {
      await this.#channel.send(encode({ type: "serving" }));
      const consent = await this.#consent("yours");
      this.#step = "over";
      crashReporter()?.stop();
      if (take === undefined || consent === "orphaned") this.#channel.destroy();
      else {
        if (this.#stream instanceof Socket) this.#stream.unref();
        this.#relayed = takeRelayed(this.#channel, take);
      }
      return consent;
    });
  }

  /** Once the service is ours: resolves when the predecessor has gone, and nothing more comes from it. Never rejects. */
  predecessorGone(): Promise<void> {
    return this.#relayed;
  }

  /** Tells the predecessor why this process will not take over; it must end then. Never rejects; does nothing when it is too late. */
  async failed(error: unknown): Promise<void> {
    if (this.#step === "over") return;
    this.#step = "over";
    const { stack, message } = asError(error);
    const reporter = crashReporter();
    const stderr = clip(reporter?.tail());
    reporter?.stop();
    await this.#channel.finish(
      encode({ type: "failed", why: clip(isOurs(error) ? message : (stack ?? message)), stderr }),
    );
    this.#channel.destroy();
  }

  async #readSections(readers: SectionReaders): Promise<Map<string, ReceivedSection<unknown>> | undefined> {
    const received = new Map<string, ReceivedSection<unknown>>();
    let announced: number | undefined;
    let open: OpenSection | undefined;
    for (;;) {
      const incoming = await this.#next();
      if (incoming.kind === "end") return undefined;
      if (incoming.kind === "broken") throw handoverError("PROTOCOL", incoming.why);
      const { message, raw } = incoming;
      switch (message.type) {
        case "state":
          if (announced !== undefined) throw outOfOrder(message.type);
          announced = message.sections;
          break;
        case "section": {
          const { name, version } = message;
          if (announced === undefined || open !== undefined) throw outOfOrder(message.type);
          const reader = Object.hasOwn(readers, name) ? readers[name] : undefined;
          if (reader === undefined || !reader.versions.includes(version) || received.has(name)) {
            throw handoverError("STATE", `state ${name} in version ${version} was not agreed on or comes twice`);
          }
          open = { name, version, reader, items: [], checksum: createHash("sha256") };
          break;
        }
        case "item":
          if (open === undefined) throw outOfOrder(message.type);
          open.checksum.update(raw).update("\n");
          open.items.push(readItem(open, message.value));
          break;
        case "section-end":
          if (open === undefined) throw outOfOrder(message.type);
          received.set(open.name, closeSection(open, message));
          this.#items += message.count;
          open = undefined;
          break;
        case "state-end":
          if (open !== undefined || received.size !== announced || message.items !== this.#items) {
            throw handoverError("STATE", "the state is not whole");
          }
          return received;
        case "abort":
          throw handoverError("ABORTED", `the predecessor has called it off: ${message.why}`);
        default:
          throw outOfOrder(message.type);
      }
    }
  }

  async #consent(expected: "commit" | "yours"): Promise<Consent> {
    const incoming = await this.#next();
    if (incoming.kind === "end") return "orphaned";
    if (incoming.kind === "broken") throw handoverError("PROTOCOL", incoming.why);
    const { message } = incoming;
    if (message.type === "abort") {
      throw handoverError("ABORTED", `the predecessor has called it off: ${message.why}`);
    }
    if (message.type !== expected) throw outOfOrder(message.type);
    return "agreed";
  }

  async #next(): Promise<Incoming<FromPredecessor>> {
    const pending = this.#channel.receive();
    return await new Promise((resolve, reject) => {
      const timer = this.#clock.setTimer(this.#limitMs, () => {
        reject(handoverError("TIMEOUT", `nothing was heard of the predecessor for ${this.#limitMs} ms`));
      });
      void pending.then(resolve, reject).finally(() => timer.cancel());
    });
  }

  /** Runs a step when it is its turn. When it fails the predecessor is told. */
  async #take<T>(from: string, during: "receiving" | "preparing" | "announcing", step: () => Promise<T>): Promise<T> {
    if (this.#step !== from) throw new Error(`wrong use: the step is ${this.#step}, not ${from}`);
    this.#step = during;
    try {
      return await step();
    } catch (thrown) {
      await this.failed(thrown);
      throw thrown;
    }
  }
}

interface OpenSection {
  readonly name: string;
  readonly version: number;
  readonly reader: SectionReader<unknown>;
  readonly items: unknown[];
  readonly checksum: Hash;
}

function readItem({ name, version, reader, items }: OpenSection, value: unknown): unknown {
  try {
    return reader.read(value, version);
  } catch (thrown) {
    const message = `item ${items.length} of state ${name} cannot be used: ${asError(thrown).message}`;
    throw handoverError("STATE", message, thrown);
  }
}

function closeSection(
  { name, version, items, checksum }: OpenSection,
  end: { readonly count: number; readonly sha256: string },
): ReceivedSection<unknown> {
  if (end.count !== items.length || end.sha256 !== checksum.digest("hex")) {
    throw handoverError(
      "STATE",
      `state ${name} is not what the predecessor wrote: ${items.length} of ${end.count} items`,
    );
  }
  return { version, items };
}

function outOfOrder(type: string): Error {
  return handoverError("PROTOCOL", `the predecessor said ${type} out of order`);
}

function isOurs(thrown: unknown): boolean {
  return thrown instanceof Error && "code" in thrown && String(thrown.code).startsWith("MORENDO_");
}

interface Passed {
  readonly predecessor: number;
  readonly channel: number;
  readonly listeners: readonly PassedListener[];
}

function parseVariable(text: string): Passed {
  const wrong = (why: string): Error => handoverError("ENVIRONMENT" satisfies HandoverErrorKind, `${VARIABLE}: ${why}`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (thrown) {
    throw wrong(asError(thrown).message);
  }
  if (!isObject(value)) throw wrong("expected an object");
  const { version, predecessor, channel, listeners } = value;
  if (version !== 1) throw wrong(`version ${String(version)} is not known here`);
  if (!isDescriptor(channel) || typeof predecessor !== "number") throw wrong("expected a channel and a predecessor");
  if (!Array.isArray(listeners)) throw wrong("expected a list of listeners");
  const passed = listeners.map((listener: unknown): PassedListener => {
    if (!isObject(listener)) throw wrong("a listener is not an object");
    const { name, fd } = listener;
    if (typeof name !== "string" || !isDescriptor(fd) || fd === channel)
      throw wrong("a listener lacks its name or descriptor");
    return { name, fd };
  });
  if (new Set(passed.map(({ fd }) => fd)).size !== passed.length) throw wrong("two listeners have the same descriptor");
  return { predecessor, channel, listeners: passed };
}

function isDescriptor(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value > 2 && value < 65_536;
}
