// The scene with the server in a process of its own, started as operators start it.

import { type ControlClient, connectControl } from "../../../src/control/control-client.ts";
import type { ServerStatus } from "../../../src/server/server.ts";
import type { DrainReport } from "../../../src/shutdown/report.ts";
import type { RawClient, RawClientOptions } from "../../../src/testing/raw-client.ts";
import { ScriptedPeer } from "../../../src/testing/scripted-peer.ts";
import { systemClock } from "../../../src/util/clock.ts";
import { PORTS } from "../addresses.ts";
import { ended } from "../control.ts";
import { Generations, type Settings } from "../generations.ts";
import { readDrainReport } from "../morendo.ts";
import type { Said } from "../run-command.ts";
import { CONTACT, presenceOfRomeo, type Scene } from "./scene.ts";

const ACCOUNTS = [
  { jid: "romeo@a.test", roster: [{ jid: CONTACT, subscription: "both" }] },
  { jid: "juliet@a.test" },
  { jid: "admin@a.test" },
  { jid: "guest@a.test" },
];

/** Tokens by HTTP: one that may do everything is in the data folder, this one may look only. */
export const GUEST_TOKEN = "guest-token-guest-token-guest";

/** The configuration; `guest` is what the account of that name may do. */
function settingsFor(peer: ScriptedPeer, guest: readonly string[]): Settings {
  return {
    hosts: ["a.test"],
    modules: ["version", "time", "commands", "admin", "announce"],
    extra: `[s2s.routes]
"peer.test" = "${peer.address}"
[admin]
accounts = ["admin@a.test"]
[admin.allow]
"guest@a.test" = ${JSON.stringify(guest)}
[[http.tokens]]
name = "guest"
token = "${GUEST_TOKEN}"
allow = ["status"]
[shutdown]
deadline = "15s"
`,
  };
}

/** A server in its own process. */
export class ProcessScene implements Scene {
  readonly generations: Generations;
  readonly peer: ScriptedPeer;
  romeo: RawClient;
  readonly states: string[] = [];
  /** The process that serves, when it is none that we started ourselves. */
  #successor: number | undefined;
  #watch: ControlClient | undefined;

  private constructor(generations: Generations, peer: ScriptedPeer) {
    this.generations = generations;
    this.peer = peer;
    this.romeo = this.client({ username: "romeo", resource: "balcony" });
  }

  /** Starts everything and resolves when Romeo is online and his contact knows it. */
  static async start(): Promise<ProcessScene> {
    const peer = await ScriptedPeer.start({ domain: "peer.test", certificates: "self-signed" });
    const generations = await Generations.launch({
      accounts: ACCOUNTS,
      env: { MORENDO_HTTP__LISTEN: '["127.0.0.1:0"]' },
      settings: settingsFor(peer, ["status"]),
    });
    const scene = new ProcessScene(generations, peer);
    try {
      await generations.until((status) => status?.state === "running");
      peer.routes.set("a.test", `${generations.address}:${PORTS.s2s}`);
      await scene.#enter();
      return scene;
    } catch (thrown) {
      await scene.end();
      throw thrown;
    }
  }

  /** Writes a configuration in which the guest may do this, for the next reload. */
  configure(guest: readonly string[]): void {
    this.generations.configure(settingsFor(this.peer, guest));
  }

  /** After a restart: everybody is there again, with the process that serves now. */
  async comeBack(): Promise<void> {
    const { pid } = (await this.status()) ?? {};
    if (pid !== this.generations.process.pid) this.#successor = pid;
    this.romeo = this.client({ username: "romeo", resource: "balcony" });
    this.states.length = 0;
    await this.#enter();
  }

  /** Follows the states and lets Romeo's contact see that he is online. */
  async #enter(): Promise<void> {
    await this.#follow();
    const { peer, romeo } = this;
    const seen = peer.stanzas.length;
    await romeo.login();
    romeo.presence();
    const isThere = (): boolean => presenceOfRomeo(this, seen).includes("available");
    await peer.until(isThere, "Romeo's presence");
  }

  async #follow(): Promise<void> {
    this.#watch?.close();
    const path = this.generations.path("data/control.sock");
    const client = await connectControl({ path, clock: systemClock });
    this.#watch = client;
    const seen = (event: string, data: unknown): void => {
      if (event === "state" && this.#watch === client) this.states.push((data as { readonly state: string }).state);
    };
    // It ends with the server, in whatever way.
    client.request("watch", {}, seen).catch(() => undefined);
  }

  client(options: Partial<RawClientOptions> = {}): RawClient {
    return this.generations.client(options);
  }

  status(): Promise<ServerStatus | undefined> {
    return this.generations.status();
  }

  report(): DrainReport | undefined {
    return readDrainReport(this.generations.folder);
  }

  async exitCode(): Promise<number | null> {
    if (this.#successor === undefined) return (await this.generations.process.exited).code;
    await ended(this.#successor);
    return this.report()?.exitCode ?? null;
  }

  /** `morendo ARGS`. */
  command(...args: readonly string[]): Promise<Said> {
    return this.generations.command(...args);
  }

  async end(): Promise<void> {
    this.#watch?.close();
    this.romeo.destroy();
    await this.generations.end();
    await this.peer.stop();
  }
}
