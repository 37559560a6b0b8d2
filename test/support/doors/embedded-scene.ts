// The scene with the server inside the test's own process, as a program has it that embeds Morendo; and its door, the server's
// own methods.

import { Jid } from "../../../src/jid/jid.ts";
import type { ServerStatus } from "../../../src/server/server.ts";
import type { DrainReport } from "../../../src/shutdown/report.ts";
import type { RawClient, RawClientOptions } from "../../../src/testing/raw-client.ts";
import { ScriptedPeer } from "../../../src/testing/scripted-peer.ts";
import { startServer, type TestServer } from "../../../src/testing/start-server.ts";
import { asError } from "../../../src/util/errors.ts";
import type { Answer, Wish } from "./door.ts";
import { CONTACT, presenceOfRomeo, type Scene } from "./scene.ts";

/** A server in this process. */
export class EmbeddedScene implements Scene {
  readonly running: TestServer;
  readonly peer: ScriptedPeer;
  romeo: RawClient;
  readonly states: string[];

  private constructor(running: TestServer, peer: ScriptedPeer, romeo: RawClient) {
    this.running = running;
    this.peer = peer;
    this.romeo = romeo;
    this.states = [running.status.state];
    running.on("state", ({ state }) => this.states.push(state));
  }

  /** Starts everything and resolves when Romeo is online and his contact knows it. */
  static async start(): Promise<EmbeddedScene> {
    const peer = await ScriptedPeer.start({ domain: "peer.test", certificates: "self-signed" });
    let running: TestServer | undefined;
    try {
      running = await startServer(
        { admin: { accounts: ["admin@a.test"] }, shutdown: { deadline: "15s" } },
        { accounts: ["romeo", "juliet", "admin", "guest"], peers: [peer] },
      );
      const account = Jid.of("romeo", "a.test");
      await running.server.rosters.put(account, { jid: CONTACT, groups: [], subscription: "both" });
      const romeo = await running.login("romeo", "balcony");
      romeo.presence();
      await peer.until(() => peer.stanzas.some((element) => element.is("presence")), "Romeo's presence");
      return new EmbeddedScene(running, peer, romeo);
    } catch (thrown) {
      await running?.dispose();
      await peer.stop();
      throw thrown;
    }
  }

  /** Romeo is there again. */
  async comeBack(): Promise<void> {
    const seen = this.peer.stanzas.length;
    this.romeo = await this.running.login("romeo", "balcony");
    this.romeo.presence();
    this.states.splice(0, this.states.length, this.running.status.state);
    const isThere = (): boolean => presenceOfRomeo(this, seen).includes("available");
    await this.peer.until(isThere, "Romeo's presence");
  }

  client(options: Partial<RawClientOptions> = {}): RawClient {
    return this.running.client({ password: "orchard", ...options });
  }

  status(): Promise<ServerStatus | undefined> {
    return Promise.resolve(this.running.status);
  }

  report(): DrainReport | undefined {
    return this.running.report;
  }

  async exitCode(): Promise<number | null> {
    return (await this.running.stop()).exitCode;
  }

  async end(): Promise<void> {
    await this.running.dispose();
    await this.peer.stop();
  }

  async ask(wish: Wish): Promise<Answer> {
    try {
      return await this.#do(wish);
    } catch (thrown) {
      return { done: false, why: asError(thrown).message };
    }
  }

  async #do({ operation, args = {} }: Wish): Promise<Answer> {
    const { server } = this.running;
    const request = { reason: "asked by the program", trigger: "program" };
    const jid = Jid.parse(String(args.jid)) ?? Jid.of("", "a.test");
    const done = (result?: unknown): Answer => ({ done: true, result });
    switch (operation) {
      case "stop": {
        const { delayMs, announcement } = args;
        void server.stop({
          cause: "stop",
          ...request,
          ...(delayMs === undefined ? {} : { delayMs: Number(delayMs) }),
          ...(announcement === undefined ? {} : { announcement: String(announcement) }),
        });
        return done();
      }
      case "cancel": {
        const result = await server.cancel(request);
        return result.cancelled ? done() : { done: false, why: result.why };
      }
      case "suspend": {
        const result = await server.suspend({ ...request, mode: args.mode === "refuse" ? "refuse" : "hold" });
        return result.suspended ? done() : { done: false, why: result.why ?? "" };
      }
      case "evacuate": {
        const result = await server.evacuate({ ...request, pace: 100, timeoutMs: 10_000, onTimeout: "stay" });
        return result.suspended ? done() : { done: false, why: result.why ?? "" };
      }
      case "resume": {
        const result = await server.resume(request);
        return result.resumed ? done() : { done: false, why: result.why };
      }
      case "announce":
        return done(await server.announce(String(args.text)));
      case "session.list":
        return done({
          sessions: [...server.sessions()].map(({ jid: full, presence }) => ({
            jid: full.toString(),
            show: presence === undefined ? "none" : "online",
          })),
        });
      case "user.add":
        await server.accounts.create(jid, String(args.password));
        return done();
      case "user.passwd":
        await server.accounts.setPassword(jid, String(args.password));
        return done();
      case "user.remove":
        await server.accounts.remove(jid);
        return done();
      default:
        return { done: false, why: `the server has no method for ${operation}` };
    }
  }
}
