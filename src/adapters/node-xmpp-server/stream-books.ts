// What a host's Router owes to other domains from the moment a stop begins: each message, presence or iq that waits in a
// stream's queue or is sent from then on, and its fate. For that it puts itself before the Router's `send` during the run.

import type { ObligationSink } from "../../shutdown/types.ts";
import type { HostAttribute, HostDomain, HostRouter, HostStanza, HostStream } from "./host-types.ts";

/** An outgoing stream and what it carries for us. */
export interface OutStream {
  readonly stream: HostStream;
  readonly local: string;
  readonly remote: string;
  /** The names of those not yet on the wire. The Router turns a stanza that it gives back into an error, name and all. */
  readonly queued: string[];
  /** The names of those on the wire and not proved. */
  readonly written: string[];
  /** Our closing tag is out: what is sent now goes nowhere. */
  isClosing: boolean;
  isGone: boolean;
}

const STANZAS = new Set(["message", "presence", "iq"]);

/** The account of one Router during a run. */
export class StreamBooks {
  #router: HostRouter;
  #obligations: ObligationSink;
  #streams = new Map<HostStream, OutStream>();
  #isOver = false;
  #changed: () => void = () => undefined;
  #restore: () => void = () => undefined;

  constructor(router: HostRouter, obligations: ObligationSink) {
    this.#router = router;
    this.#obligations = obligations;
  }

  /** Begins the account with what waits in the queues now. */
  begin(): void {
    for (const [local, domain] of Object.entries(this.#router.ctxs)) {
      for (const [remote, stream] of Object.entries(domain.s2sOut)) this.#open(local, remote, stream, domain);
    }
    const router = this.#router;
    const { send } = router;
    const wasOwn = Object.hasOwn(router, "send");
    router.send = (stanza: HostStanza): unknown => this.#send(stanza, (each) => send.call(router, each));
    this.#restore = () => {
      if (wasOwn) router.send = send;
      else Reflect.deleteProperty(router, "send");
    };
  }

  /** The outgoing streams that are still there. */
  get streams(): readonly OutStream[] {
    return [...this.#streams.values()].filter(({ isGone }) => !isGone);
  }

  /** Calls `changed` whenever a queue has left or a stream has gone. */
  set onChange(changed: () => void) {
    this.#changed = changed;
  }

  /** The peer has answered our closing tag: it has read everything. */
  proved(out: OutStream): void {
    for (const _ of out.written.splice(0)) this.#obligations.settle(out.remote, "proved", { evidence: "closed" });
  }

  /** Ends the account: what has no fate yet is lost, and what is sent from now on is lost at once. */
  end(): void {
    this.#isOver = true;
    for (const out of this.#streams.values()) this.#lose(out);
  }

  /** Gives the Router its own `send` back. */
  release(): void {
    this.#restore();
  }

  #send(stanza: HostStanza, forward: (stanza: HostStanza) => unknown): unknown {
    const root = stanza.root?.() ?? stanza;
    const remote = domainOf(root.attrs?.to);
    const local = domainOf(root.attrs?.from);
    const isOwed =
      remote !== undefined && local !== undefined && !Object.hasOwn(this.#router.ctxs, remote) && isStanza(root);
    if (!isOwed) return forward(stanza);
    const name = nameOf(root);
    if (this.#isOver) {
      this.#obligations.settle(remote, "lost", { name });
      return undefined;
    }
    const result = forward(stanza);
    const domain = this.#router.ctxs[local];
    const stream = domain?.s2sOut[remote];
    if (domain === undefined || stream === undefined) {
      this.#obligations.settle(remote, "lost", { name });
      return result;
    }
    const out = this.#streams.get(stream) ?? this.#open(local, remote, stream, domain, []);
    if (out.isClosing) this.#obligations.settle(remote, "lost", { name });
    else if (stream.queue?.at(-1) === root) out.queued.push(name);
    else out.written.push(name);
    return result;
  }

  #open(
    local: string,
    remote: string,
    stream: HostStream,
    domain: HostDomain,
    queued: readonly HostStanza[] = stream.queue ?? [],
  ): OutStream {
    const out: OutStream = {
      stream,
      local,
      remote,
      queued: queued.filter(isStanza).map(nameOf),
      written: [],
      isClosing: false,
      isGone: false,
    };
    this.#streams.set(stream, out);
    // After the Router's own listeners, which send the queue and give it back respectively.
    stream.on("online", () => {
      out.written.push(...out.queued.splice(0));
      this.#changed();
    });
    const gone = (): void => {
      if (out.isGone) return;
      out.isGone = true;
      this.#returned(out, domain);
      this.#changed();
    };
    stream.on("close", gone);
    stream.on("error", gone);
    return out;
  }

  /** The Router gives the queue of a stream that failed back to the domain's listener, errors excepted. */
  #returned(out: OutStream, domain: HostDomain): void {
    const fate = typeof domain.stanzaListener === "function" ? "returned" : "lost";
    for (const name of out.queued.splice(0)) this.#obligations.settle(out.remote, fate, { name });
  }

  #lose(out: OutStream): void {
    for (const name of out.queued.splice(0)) this.#obligations.settle(out.remote, "lost", { name });
    for (const name of out.written.splice(0)) {
      this.#obligations.settle(out.remote, "lost", { evidence: "written", name });
    }
  }
}

function isStanza(stanza: HostStanza): boolean {
  return stanza.name !== undefined && STANZAS.has(stanza.name);
}

function nameOf({ name, attrs }: HostStanza): string {
  const id = attrs?.id ? ` id=${attrs.id.toString()}` : "";
  return `${name} ${attrs?.from?.toString()} -> ${attrs?.to?.toString()}${id}`;
}

/** The domain of an address as the Router finds it. */
function domainOf(address: HostAttribute): string | undefined {
  if (address === undefined || address === null) return undefined;
  const bare = address.toString().split("/", 1)[0] ?? "";
  return bare.slice(bare.indexOf("@") + 1).toLowerCase();
}
