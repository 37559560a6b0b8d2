// Two clients with stream management (XEP-0198) that talk to each other through restarts: what the one has said is compared
// with what the other has read, and neither may hear that the other had gone.

import assert from "node:assert/strict";
import type { Generations } from "./generations.ts";
import { SmClient, type SmIdentity } from "./sm-client.ts";

const CONTACTS = (jid: string) => [{ jid, subscription: "both" }];
/** The accounts that a conversation needs, and one at another host, for `Generations`. */
export const ACCOUNTS = [
  { jid: "romeo@a.test", roster: CONTACTS("juliet@a.test") },
  { jid: "juliet@a.test", roster: CONTACTS("romeo@a.test") },
  { jid: "mercutio@b.test" },
];

/** Two clients that see each other, and their conversation. */
export class Conversation {
  romeo: SmClient;
  juliet: SmClient;
  #generations: Generations;
  #next = 1;
  /** What Juliet has read on connections that are gone. */
  #read: string[] = [];

  private constructor(generations: Generations, romeo: SmClient, juliet: SmClient) {
    this.#generations = generations;
    this.romeo = romeo;
    this.juliet = juliet;
  }

  static async begin(generations: Generations): Promise<Conversation> {
    const romeo = await SmClient.start(generations, "romeo", "balcony");
    const juliet = await SmClient.start(generations, "juliet", "chamber");
    await romeo.available();
    await juliet.available();
    await romeo.raw.waitFor((xml) => xml.startsWith("<presence") && xml.includes("juliet@a.test/chamber"));
    return new Conversation(generations, romeo, juliet);
  }

  /** Romeo says the next number; it may take its time. */
  send(): string {
    const body = String(this.#next++);
    this.romeo.message("juliet@a.test/chamber", body);
    return body;
  }

  /** Romeo says the next number, and Juliet has read it. */
  async say(): Promise<void> {
    await this.juliet.got(this.send());
  }

  /** Both come back on new connections, and neither was told anything about the other. */
  async resume(): Promise<void> {
    this.#read.push(...this.juliet.bodies);
    this.romeo = await this.#resumed(this.romeo);
    this.juliet = await this.#resumed(this.juliet);
  }

  /** Juliet has read every number once, in order, and neither has heard anything about the other's presence since `since`. */
  complete(since: { readonly romeo: number; readonly juliet: number } = { romeo: 0, juliet: 0 }): void {
    const expected = Array.from({ length: this.#next - 1 }, (_, index) => String(index + 1));
    assert.deepEqual([...this.#read, ...this.juliet.bodies], expected);
    for (const who of ["romeo", "juliet"] as const) {
      const presence = this[who].raw.received.slice(since[who]).filter(({ xml }) => xml.startsWith("<presence"));
      assert.deepEqual(presence, [], `${who} heard of a presence`);
    }
  }

  /** Both log out, with nothing left to tell them. */
  async end(): Promise<void> {
    for (const client of [this.romeo, this.juliet]) {
      client.acknowledge();
      await client.raw.close();
    }
  }

  /** How much each has received so far. */
  get mark(): { readonly romeo: number; readonly juliet: number } {
    return { romeo: this.romeo.raw.received.length, juliet: this.juliet.raw.received.length };
  }

  async #resumed(client: SmClient): Promise<SmClient> {
    await client.raw.ended;
    const identity: SmIdentity = client.identity;
    const resumed = await SmClient.resume(this.#generations, identity);
    resumed.resumed();
    return resumed;
  }
}

/** Somebody logs in, and gets an answer. */
export async function canLogIn(generations: Generations): Promise<void> {
  const stranger = generations.client({ username: "romeo", resource: "stranger" });
  await stranger.login();
  assert.match(await stranger.iq("get", "<ping xmlns='urn:xmpp:ping'/>", "a.test"), /type=.result/);
  await stranger.close();
}
