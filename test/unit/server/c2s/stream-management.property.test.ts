import assert from "node:assert/strict";
import fc from "fast-check";
import { MemoryStore } from "../../../../src/store/memory.ts";
import { attributeOf, type RawClient } from "../../../../src/testing/raw-client.ts";
import { Scene } from "./harness.ts";

const SM = "urn:xmpp:sm:3";
const MAX_S = 20;

/** A client that goes by XEP-0198: resumes when it can, sends again what was not handled, and keeps book of all it read. */
class Wanderer {
  #scene: Scene;
  #name: string;
  #peer: string;
  #raw: RawClient | undefined;
  #id = "";
  #handled = 0;
  #counts = false;
  /** What was sent in this session. */
  #sent: string[] = [];
  /** Whether it leaves the server's questions without an answer, and so is given up again and again. */
  #isMute: boolean;
  /** What came in this session, and how much of it the server surely knows of. */
  #read: string[] = [];
  #told = 0;
  /** Everything that ever came, in order. */
  readonly received: string[] = [];
  /** What may come twice: the session in which it came first was lost before it could be acknowledged. */
  readonly uncertain = new Set<string>();
  readonly disorder: string[] = [];
  /** The messages that the server says it has carried. */
  readonly carried = new Set<string>();

  constructor(scene: Scene, { name, peer, isMute }: { name: string; peer: string; isMute: boolean }) {
    this.#scene = scene;
    this.#name = name;
    this.#peer = peer;
    this.#isMute = isMute;
  }

  /** Its server was stopped, and `scene` is the next life of it. */
  moveTo(scene: Scene): void {
    this.#scene = scene;
  }

  get connected(): boolean {
    return this.#raw !== undefined;
  }

  async connect(): Promise<void> {
    if (this.#raw !== undefined) return;
    const raw = this.#scene.client({ username: this.#name, resource: "1" });
    this.#raw = raw;
    this.#counts = false;
    raw.onElement = (xml) => this.#note(raw, xml);
    void raw.ended.then(() => {
      if (this.#raw === raw) this.#raw = undefined;
    });
    await raw.connect();
    await raw.authenticate();
    if (this.#id !== "") {
      raw.send(`<resume xmlns='${SM}' previd='${this.#id}' h='${this.#handled}'/>`);
      const { xml } = await raw.waitFor((text) => /^<(resumed|failed)/.test(text));
      const h = Number(attributeOf(xml, "h"));
      assert.ok(!Number.isNaN(h), xml);
      this.#noteCarried(h);
      const again = this.#sent.slice(h);
      if (xml.startsWith("<resumed")) {
        this.#sent.length = h;
        for (const text of again) this.#say(text);
        return;
      }
      this.doubt();
      await this.#begin(raw);
      for (const text of again) this.#say(text);
      return;
    }
    await this.#begin(raw);
  }

  /** The session is over: what it has read and not surely acknowledged may come again. */
  doubt(): void {
    for (const body of this.#read.slice(this.#told)) this.uncertain.add(body);
  }

  send(body: string): void {
    this.#say(`<message to='${this.#peer}' type='chat' id='${body}'><body>${body}</body></message>`);
  }

  async acknowledge(): Promise<void> {
    const raw = this.#raw;
    if (raw === undefined) return;
    const { length } = this.#read;
    const since = raw.received.length;
    raw.send(`<a xmlns='${SM}' h='${this.#handled}'/><r xmlns='${SM}'/>`);
    await raw.waitFor((xml) => xml.startsWith("<a "), { since });
    this.#told = length;
  }

  leave(how: "reset" | "fin" | "silence"): void {
    const raw = this.#raw;
    this.#raw = undefined;
    if (raw === undefined) return;
    raw.onElement = undefined;
    if (how === "reset") raw.reset();
    else if (how === "fin") raw.halfClose();
    else raw.stopReading();
  }

  async #begin(raw: RawClient): Promise<void> {
    await raw.bind();
    raw.send(`<enable xmlns='${SM}' resume='true'/>`);
    const { xml } = await raw.waitFor((text) => text.startsWith("<enabled"));
    this.#id = attributeOf(xml, "id") ?? "";
    this.#sent = [];
    this.#read = [];
    this.#told = 0;
    this.#say("<presence/>");
  }

  #say(text: string): void {
    this.#sent.push(text);
    this.#raw?.send(text);
  }

  #noteCarried(h: number): void {
    for (const text of this.#sent.slice(0, h)) {
      const body = /<body>([^<]*)<\/body>/.exec(text)?.[1];
      if (body !== undefined) this.carried.add(body);
    }
  }

  #note(raw: RawClient, xml: string): void {
    if (raw !== this.#raw) return;
    if (xml.startsWith("<a ")) this.#noteCarried(Number(attributeOf(xml, "h")));
    if (xml.startsWith("<enabled")) {
      this.#handled = 0;
      this.#counts = true;
    } else if (xml.startsWith("<resumed")) this.#counts = true;
    else if (xml.startsWith("<r ") && !this.#isMute) raw.send(`<a xmlns='${SM}' h='${this.#handled}'/>`);
    else if (this.#counts && /^<(message|presence|iq)/.test(xml)) this.#handled++;
    const body = /<body>([^<]*)<\/body>/.exec(xml)?.[1];
    if (body === undefined) return;
    assert.ok(!xml.includes('type="error"'), xml);
    const before = this.#read.at(-1);
    if (before !== undefined && !xml.includes("<delay") && Number(before.slice(1)) > Number(body.slice(1))) {
      this.disorder.push(`${body} after ${before}`);
    }
    this.#read.push(body);
    this.received.push(body);
  }
}

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant("send" as const), count: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("acknowledge" as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("leave" as const),
      how: fc.constantFrom("reset" as const, "fin" as const, "silence" as const),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("connect" as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.constantFrom(0, 1, 10, 1_000, MAX_S * 500) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.constant(MAX_S * 2_000) }) },
);
const plan = fc.array(fc.record({ who: fc.constantFrom(0, 1), step }), { minLength: 1, maxLength: 25 });

type Steps = typeof plan extends fc.Arbitrary<infer Value> ? Value : never;

/** Has two clients go by `steps`, and returns them and how many messages each has sent. */
async function play(scene: Scene, steps: Steps, mute: readonly [boolean, boolean]): Promise<[Wanderer[], number[]]> {
  const all = [
    new Wanderer(scene, { name: "romeo", peer: "juliet@a.test", isMute: mute[0] }),
    new Wanderer(scene, { name: "juliet", peer: "romeo@a.test/1", isMute: mute[1] }),
  ];
  for (const one of all) await scene.pass(one.connect());
  await scene.clock.advance(10);
  const counts = [0, 0];
  for (const { who, step: next } of steps) {
    const one = all[who] as Wanderer;
    if (next.do === "send") {
      for (let index = 0; index < next.count; index++) {
        if (!one.connected) continue;
        const number = (counts[who] ?? 0) + 1;
        counts[who] = number;
        one.send(`${who === 0 ? "r" : "j"}${number}`);
      }
    } else if (next.do === "acknowledge") await scene.pass(one.acknowledge());
    else if (next.do === "leave") one.leave(next.how);
    else if (next.do === "connect") await scene.pass(one.connect());
    else await scene.clock.advance(next.ms);
  }
  return [all, counts];
}

/** Fails unless each of the two has what the other one sent, once and in order. */
function assertComplete(all: readonly Wanderer[], counts: readonly number[]): void {
  for (const [who, one] of all.entries()) {
    const name = who === 0 ? "j" : "r";
    const sent = Array.from({ length: counts[1 - who] ?? 0 }, (_, index) => `${name}${index + 1}`);
    assert.deepEqual(new Set(one.received), new Set(sent), "each message arrives");
    assert.deepEqual(doubled(one.received, one.uncertain), [], "none arrives twice");
    assert.deepEqual(one.disorder, []);
  }
}

/** Those of `bodies` that are there more than once although that is not `allowed`. */
function doubled(bodies: readonly string[], allowed: ReadonlySet<string>): string[] {
  return bodies.filter((body, index) => bodies.indexOf(body) !== index && !allowed.has(body));
}

const CONFIG = { sm_max: `${MAX_S}s`, sm_ack_timeout: "5s", stall_timeout: "5s", close_timeout: "1s" };
const mute = fc.tuple(fc.boolean(), fc.boolean());

describe("stream management, whatever the clients and the network do", () => {
  it("delivers each message once, in order, and twice only what nobody could know had arrived", async function () {
    this.timeout(120_000);
    const property = fc.asyncProperty(plan, mute, async (steps, isMute) => {
      const scene = await Scene.open(["romeo", "juliet"], CONFIG);
      try {
        const [all, counts] = await play(scene, steps, isMute);
        for (const one of all) await scene.pass(one.connect());
        await scene.clock.advance(5_000);
        assertComplete(all, counts);
      } finally {
        await scene.close();
      }
    });
    await fc.assert(property, { numRuns: 50 });
  });

  for (const resumable of ["end", "keep"] as const) {
    it(`delivers each message once, in order, across a stop and a start (${resumable})`, async function () {
      this.timeout(120_000);
      const property = fc.asyncProperty(plan, mute, async (steps, isMute) => {
        const store = new MemoryStore();
        const scene = await Scene.open(["romeo", "juliet"], CONFIG, store, { resumable });
        let next: Scene | undefined;
        try {
          const [all, counts] = await play(scene, steps, isMute);
          await scene.stop();
          next = await Scene.open([], CONFIG, store.afterCrash(), { resumable });
          for (const one of all) one.moveTo(next);
          for (const one of all) await next.pass(one.connect());
          await next.clock.advance(5_000);
          assertComplete(all, counts);
        } finally {
          await scene.close();
          await next?.close();
        }
      });
      await fc.assert(property, { numRuns: 50 });
    });
  }

  it("has everything that was carried read or stored when the server goes down at any moment", async function () {
    this.timeout(120_000);
    const property = fc.asyncProperty(plan, mute, async (steps, isMute) => {
      const store = new MemoryStore();
      const scene = await Scene.open(["romeo", "juliet"], CONFIG, store);
      let next: Scene | undefined;
      try {
        const [all] = await play(scene, steps, isMute);
        await scene.stop();
        next = await Scene.open([], CONFIG, store.afterCrash());
        // Nobody comes back for the sessions that were kept.
        await next.clock.advance((MAX_S + 1) * 1_000);
        for (const [who, one] of all.entries()) {
          one.doubt();
          const found: string[] = [];
          const reader = next.client({ username: who === 0 ? "romeo" : "juliet", resource: "reader" });
          reader.onElement = (xml) => found.push(...(/<body>([^<]*)<\/body>/.exec(xml)?.slice(1) ?? []));
          await next.pass(reader.login());
          reader.presence();
          await next.clock.advance(1_000);
          const there = [...one.received, ...found];
          const missing = [...(all[1 - who]?.carried ?? [])].filter((body) => !there.includes(body));
          assert.deepEqual(missing, [], "what was carried is there");
          assert.deepEqual(doubled(there, one.uncertain), [], "and not twice");
        }
      } finally {
        await scene.close();
        await next?.close();
      }
    });
    await fc.assert(property, { numRuns: 50 });
  });
});
