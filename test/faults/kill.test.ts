// A server that is killed (-9) at any moment, again and again, hundreds of lives on one disk: in the middle of its work, in the
// middle of a stop, in each of its phases and in each step of a suspension, with others writing to it all the while. In memory, with a disk that forgets what was not flushed; what
// only a real process shows is in kill-process.test.ts. What may be lost and doubled is in allowed.ts and nowhere else.

import assert from "node:assert/strict";
import offline from "../../modules/offline/index.ts";
import ping from "../../modules/ping/index.ts";
import presence from "../../modules/presence/index.ts";
import roster from "../../modules/roster/index.ts";
import { PHASES, type PhaseName } from "../../src/server/phases.ts";
import type { SuspendStep } from "../../src/shutdown/index.ts";
import { attributeOf, type RawClient } from "../../src/testing/raw-client.ts";
import { SeededRandom } from "../../src/testing/simulation/seeded-random.ts";
import { MemoryLives } from "../support/memory-lives.ts";
import { SmClient } from "../support/sm-client.ts";
import { DOUBLED_BY_KILL, LOST_BY_KILL, LOST_THOUGH_JOURNALED, type Way } from "./allowed.ts";

const FIRST = Number(process.env.KILL_FIRST ?? 1);
const CHAINS = Number(process.env.KILL_CHAINS ?? 25);
const LIVES = 8;
/** How often the server is killed at each named place, in lives on one disk. */
const AT_EACH = 3;
const PLACES = ["before", "during", "after"] as const;
const MODES = ["hold", "refuse", "evacuate"] as const;
const ASK = "<r xmlns='urn:xmpp:sm:3'/>";

/** To whom a message goes, and how it must get there. */
const WAYS: readonly (readonly [Way, string])[] = [
  ["to a session with acknowledgements", "juliet@a.test/1"],
  ["to a session without", "paris@a.test/1"],
  ["to offline storage", "nurse@a.test"],
  ["to another server", "x@b.test"],
];

interface Told {
  readonly id: string;
  readonly way: Way;
  readonly to: string;
  /** The server said that it has it. */
  isCarried: boolean;
  /** How often it was written: again after a kill when the server had not said so. */
  written: number;
}

/** Several lives with the same people. */
class Chain {
  readonly lives: MemoryLives;
  readonly told: Told[] = [];
  readonly #random: SeededRandom;
  /** Everything that anybody but the other server has received, by account. */
  readonly #received = new Map<string, string[]>();
  /** What was written in this life, in order: `h` counts it. */
  #sent: Told[] = [];
  #romeo: SmClient | undefined;
  #juliet: RawClient | undefined;

  readonly #mayBeLost: ReadonlySet<Way>;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
    const journal_before_ack = seed % 2 === 0;
    this.#mayBeLost = journal_before_ack ? LOST_THOUGH_JOURNALED : LOST_BY_KILL;
    this.lives = new MemoryLives(
      { s2s: { require_tls: false, journal_before_ack }, shutdown: { resumable: seed % 4 < 2 ? "keep" : "end" } },
      { accounts: ["romeo", "juliet", "paris", "nurse"], modules: [roster, presence, offline, ping] },
      { latencyMs: seed % 3, jitterMs: seed % 5, random: new SeededRandom(seed) },
    );
  }

  async begin(): Promise<void> {
    // Slow to be reached, so that something waits for it when the kill comes.
    await this.lives.peer({ domain: "b.test", script: { features: { delayMs: 25 } } });
    this.#slowDown();
    await this.lives.start();
  }

  /** Everybody is there, and Romeo repeats what the server had not said that it has. */
  async gather(): Promise<void> {
    const { lives } = this;
    this.#slowDown();
    this.#romeo = await lives.pass(SmClient.start(lives, "romeo", "1"));
    this.#watch("romeo", this.#romeo.raw);
    const juliet = await lives.pass(SmClient.start(lives, "juliet", "1"));
    this.#watch("juliet", juliet.raw);
    juliet.raw.presence();
    this.#juliet = juliet.raw;
    await this.#plain("paris");
    this.#sent = [];
    for (const one of this.told) if (!one.isCarried) this.#write(one);
    await lives.clock.advance(5);
  }

  /** Some messages, and a piece of time that no timer decides. */
  async work(): Promise<void> {
    const random = this.#random;
    for (let count = random.between(1, 6); count > 0; count--) {
      const [way, to] = WAYS[random.below(WAYS.length)] ?? ["to offline storage", "nurse@a.test"];
      const one = { id: `m${this.told.length}`, way, to, isCarried: false, written: 0 };
      this.told.push(one);
      this.#write(one);
    }
    if (this.#romeo?.raw.writable === true) this.#romeo.raw.send(ASK);
    if (random.chance(0.2)) this.#juliet?.stopReading();
    // Nobody waits for this: the kill may come in its middle.
    void this.lives.clock.advance(random.between(0, 30));
    await turns(random.below(random.pick([3, 12, 60])));
  }

  /** A stop is asked for, and the kill comes before it is over, or just after. */
  async stop(): Promise<void> {
    const { clock } = this.lives;
    void this.lives.server.stop();
    for (let steps = this.#random.below(20); steps > 0; steps--) {
      void clock.advance(this.#random.between(0, 50));
      await turns(this.#random.below(40));
    }
  }

  /** A stop is asked for, and has come to this place in this phase: it waits there. */
  async stopUntil(phase: PhaseName, when: (typeof PLACES)[number]): Promise<void> {
    const { server } = this.lives;
    const { isThere, wait } = standstill();
    server.server.lifecycle.attach(phase, { name: "the kill", when, run: wait });
    const delayed = { delayMs: 5_000, include: ["announce"], announcement: "we go" };
    void server.stop(phase === "announce" ? delayed : {});
    await this.#come(isThere, `${when} ${phase}`);
  }

  /** A suspension, and the resume when that is asked for, has come to this place: it waits there. */
  async suspendUntil(mode: (typeof MODES)[number], step: SuspendStep, when: (typeof PLACES)[number]): Promise<void> {
    const { server } = this.lives.server;
    const { isThere, wait } = standstill();
    // Only who has begun is asked to resume.
    server.lifecycle.onSuspend({ name: "the kill", when, prepare: () => undefined, [step]: wait });
    this.#suspend(mode);
    if (step === "resume") {
      await this.#come(() => server.status().state === "suspended", `suspended in mode ${mode}`);
      await this.work();
      void server.resume({ reason: "done", trigger: "test" });
    }
    await this.#come(isThere, `${when} ${step} in mode ${mode}`);
  }

  /** The server is suspended, and people go on writing. */
  async beSuspended(mode: (typeof MODES)[number]): Promise<void> {
    this.#suspend(mode);
    await this.#come(() => this.lives.server.status.state === "suspended", `suspended in mode ${mode}`);
    await this.work();
    assert.equal(this.lives.server.status.state, "suspended");
  }

  #suspend(mode: (typeof MODES)[number]): void {
    const { server } = this.lives.server;
    const wish = { reason: "a test", trigger: "test", timeoutMs: 60_000, onTimeout: "stay" } as const;
    void (mode === "evacuate" ? server.evacuate({ ...wish, pace: 1_000 }) : server.suspend({ ...wish, mode }));
  }

  async #come(isThere: () => boolean, where: string): Promise<void> {
    await this.lives.until(isThere, () => where);
    // Whatever else goes on there comes a piece further, or not.
    await turns(this.#random.below(20));
  }

  async kill(): Promise<void> {
    this.#noteCarried();
    await this.lives.crash(this.#random.pick([0, 1_000, 3_600_000]));
    await this.lives.start();
  }

  /** Everything comes to rest, the nurse comes, and the account is made up. */
  async settle(): Promise<void> {
    const { lives } = this;
    this.#romeo?.raw.send(ASK);
    this.#juliet?.goOn();
    await lives.clock.advance(120_000);
    await this.#plain("nurse");
    await lives.clock.advance(60_000);
    this.#noteCarried();
    assert.deepEqual(
      this.told.filter(({ isCarried }) => !isCarried).map(({ id }) => id),
      [],
      "a live server took no notice",
    );
  }

  /** What was carried and reached nobody, and what reached somebody more often than it may. */
  judge(): void {
    for (const { id, way, written, isCarried } of this.told) {
      const copies = this.#copies(id);
      const returned = this.#returned(id);
      const story = `${id} ${way}: written ${written} times, ${copies} came, ${returned} returned`;
      if (isCarried && !this.#mayBeLost.has(way)) assert.ok(copies + returned > 0, `lost: ${story}`);
      // Each time it was written without an answer the server may have had it all the same, and each kill may double that.
      const most = written * (DOUBLED_BY_KILL.has(way) ? LIVES : 1);
      assert.ok(copies + returned <= most, `doubled: ${story}`);
    }
  }

  #copies(id: string): number {
    const local = [...this.#received].flatMap(([who, all]) => (who === "romeo" ? [] : all));
    const remote = this.lives.arrivedAt("b.test").map(String);
    return [...local, ...remote].filter((xml) => xml.startsWith("<message") && attributeOf(xml, "id") === id).length;
  }

  #returned(id: string): number {
    return (this.#received.get("romeo") ?? []).filter(
      (xml) => /^<message[^>]*type=.error/.test(xml) && attributeOf(xml, "id") === id,
    ).length;
  }

  #write(one: Told): void {
    // Who was sent away by a suspension writes it in the next life.
    if (this.#romeo?.raw.writable !== true) return;
    one.written++;
    this.#sent.push(one);
    this.#romeo.raw.send(`<message to='${one.to}' id='${one.id}' type='chat'><body>hear me</body></message>`);
  }

  /** What the server's last `h` covers. */
  #noteCarried(): void {
    const last = this.#romeo?.raw.received.findLast(({ xml }) => xml.startsWith("<a "));
    const h = last === undefined ? 0 : Number(attributeOf(last.xml, "h"));
    for (const one of this.#sent.slice(0, h)) one.isCarried = true;
  }

  async #plain(username: string): Promise<void> {
    const { lives } = this;
    const client = lives.client({ username, resource: "1" });
    this.#watch(username, client);
    await lives.pass(client.login());
    client.presence();
    await lives.clock.advance(5);
  }

  #watch(username: string, client: RawClient): void {
    const all = this.#received.get(username) ?? [];
    this.#received.set(username, all);
    const before = client.onElement;
    for (const { xml } of client.received) all.push(xml);
    client.onElement = (xml) => {
      all.push(xml);
      before?.(xml);
    };
  }

  /** The disk takes its time, now and then: what waits for it is in between when the kill comes. */
  #slowDown(): void {
    const wait = (): Promise<void> | undefined =>
      this.#random.chance(0.5) ? turns(this.#random.below(10)) : undefined;
    this.lives.disk.hooks.beforeWrite = wait;
    this.lives.disk.hooks.beforeFlush = wait;
  }
}

/** Something to wait in, for ever, that tells whether it was begun. */
function standstill(): { readonly isThere: () => boolean; readonly wait: () => Promise<void> } {
  let isBegun = false;
  const wait = (): Promise<void> => {
    isBegun = true;
    return new Promise(() => undefined);
  };
  return { isThere: () => isBegun, wait };
}

/** Several lives, each killed at the place that `come` brings it to, and the account of them. */
async function killAt(seed: number, come: (chain: Chain) => Promise<void>): Promise<void> {
  const chain = new Chain(seed);
  await chain.begin();
  for (let life = 0; life < AT_EACH; life++) {
    await chain.gather();
    await chain.work();
    await come(chain);
    await chain.kill();
  }
  await chain.gather();
  await chain.settle();
  chain.judge();
  await chain.lives.end();
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
}

describe("A server that is killed again and again", function () {
  this.timeout(120_000);

  for (let seed = FIRST; seed < FIRST + CHAINS; seed++) {
    it(`loses nothing that it said it has, and doubles nothing, beyond what is allowed (seed ${seed})`, async () => {
      const chain = new Chain(seed);
      const random = new SeededRandom(seed).stream("kills");
      await chain.begin();
      for (let life = 1; life < LIVES; life++) {
        await chain.gather();
        for (let rounds = random.between(1, 4); rounds > 0; rounds--) await chain.work();
        if (random.chance(0.5)) await chain.stop();
        await chain.kill();
      }
      await chain.gather();
      await chain.settle();
      chain.judge();
      await chain.lives.end();
    });
  }
});

describe("A server that is killed in a phase of a stop", function () {
  this.timeout(120_000);
  let seed = FIRST;

  for (const phase of PHASES) {
    for (const when of PLACES) {
      const own = seed++;
      it(`loses and doubles no more than is allowed ${when} ${phase} (seed ${own})`, () =>
        killAt(own, (chain) => chain.stopUntil(phase, when)));
    }
  }
});

describe("A server that is killed in a suspension", function () {
  this.timeout(120_000);
  let seed = FIRST;

  for (const mode of MODES) {
    for (const step of ["prepare", "suspend", "resume"] as const) {
      for (const when of PLACES) {
        const own = seed++;
        it(`loses and doubles no more than is allowed in mode ${mode}, ${when} ${step} (seed ${own})`, () =>
          killAt(own, (chain) => chain.suspendUntil(mode, step, when)));
      }
    }
    const own = seed++;
    it(`loses and doubles no more than is allowed while suspended in mode ${mode} (seed ${own})`, () =>
      killAt(own, (chain) => chain.beSuspended(mode)));
  }
});
