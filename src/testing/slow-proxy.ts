// A TCP proxy that makes a link worse: latency each way, a limited rate, a stall, a reset. For tests of what a server
// does on a bad link; the bytes themselves pass unchanged and in order.

import { connect, createServer, type Server, type Socket } from "node:net";

/** What the link is like. Everything can be changed while connections are open. */
export interface LinkQuality {
  /** Milliseconds that every byte takes, each way. */
  latencyMs?: number;
  /** Bytes a second, each way and for each connection. Unlimited unless told. */
  bytesPerSecond?: number;
}

/** Where the proxy leads, and over what kind of link. */
export interface SlowProxyOptions extends LinkQuality {
  readonly host: string;
  readonly port: number;
}

/** A running proxy. */
export class SlowProxy {
  /** The address and port it listens on. */
  address = "";
  port = 0;
  /** How many connections it has taken so far. */
  accepted = 0;
  #server: Server;
  #options: SlowProxyOptions;
  #pairs = new Set<Socket>();
  #stalled = false;

  private constructor(options: SlowProxyOptions) {
    this.#options = options;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#accept(socket));
  }

  /** Starts a proxy on a free port of `address`. */
  static async start(options: SlowProxyOptions, address = "127.0.0.1"): Promise<SlowProxy> {
    const proxy = new SlowProxy(options);
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once("error", reject);
      proxy.#server.listen(0, address, resolve);
    });
    const bound = proxy.#server.address();
    proxy.address = address;
    proxy.port = typeof bound === "object" && bound !== null ? bound.port : 0;
    return proxy;
  }

  /** Changes the link, for bytes that arrive from now on. */
  change(quality: LinkQuality): void {
    this.#options = { ...this.#options, ...quality };
  }

  /** From now on nothing passes any more, in either direction; connections stay open. */
  stall(): void {
    this.#stalled = true;
  }

  /** Resets every open connection on both sides. New ones are still accepted. */
  reset(): void {
    for (const socket of this.#pairs) socket.resetAndDestroy();
  }

  /** Ends the proxy and everything that runs through it. */
  async stop(): Promise<void> {
    this.reset();
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
  }

  #accept(near: Socket): void {
    this.accepted += 1;
    const far = connect({ host: this.#options.host, port: this.#options.port, allowHalfOpen: true, noDelay: true });
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#pairs.add(socket);
      socket.on("error", () => other.resetAndDestroy());
      socket.on("close", () => this.#pairs.delete(socket));
      this.#pipe(socket, other);
    }
  }

  /** Passes bytes on after their time: the latency, and their turn at the rate. */
  #pipe(from: Socket, to: Socket): void {
    let free = 0;
    let waiting = 0;
    const later = (bytes: number, act: () => void): void => {
      const { latencyMs = 0, bytesPerSecond } = this.#options;
      const now = performance.now();
      free = Math.max(free, now) + (bytesPerSecond === undefined ? 0 : (bytes / bytesPerSecond) * 1_000);
      setTimeout(act, free - now + latencyMs);
    };
    from.on("data", (data: Buffer) => {
      if (this.#stalled) return;
      // A link holds little: the sender is to feel a slow one as back-pressure.
      waiting += data.length;
      if (waiting > 65_536) from.pause();
      later(data.length, () => {
        waiting -= data.length;
        if (waiting <= 65_536) from.resume();
        if (to.writable && !this.#stalled) to.write(data);
      });
    });
    from.on("end", () => later(0, () => to.end()));
  }
}
