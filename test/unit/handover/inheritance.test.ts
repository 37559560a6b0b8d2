import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { Duplex } from "node:stream";
import { Inheritance, inheritance } from "../../../src/handover/index.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { systemClock } from "../../../src/util/clock.ts";
import { codeOf } from "../../../src/util/errors.ts";
import { pipe } from "../../support/handover-pair.ts";

const READERS = { count: { versions: [1, 2], required: true, read: Number }, names: { versions: [1], read: String } };

/** A successor whose predecessor is the test. */
class Successor {
  readonly clock = new ManualClock();
  readonly inherited: Inheritance;
  heard = "";
  #channel: Duplex;

  constructor() {
    const [near, far] = pipe();
    this.#channel = far;
    far.on("data", (chunk: Buffer) => {
      this.heard += chunk.toString();
    });
    this.inherited = new Inheritance({ channel: near, clock: this.clock, listeners: [], predecessor: 1 });
  }

  async say(...messages: readonly (object | string)[]): Promise<void> {
    for (const message of messages) {
      this.#channel.write(typeof message === "string" ? message : `${JSON.stringify(message)}\n`);
    }
    await this.settle();
  }

  async die(): Promise<void> {
    this.#channel.end();
    await this.settle();
  }

  async settle(): Promise<void> {
    for (let round = 0; round < 5; round++) await this.clock.advance(0);
  }
}

function section(name: string, version: number, items: readonly unknown[]): readonly object[] {
  const lines = items.map((value) => ({ type: "item", value }));
  const checksum = createHash("sha256").update(lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  return [
    { type: "section", name, version },
    ...lines,
    { type: "section-end", count: items.length, sha256: checksum.digest("hex") },
  ];
}

const STATE = [
  { type: "state", sections: 2 },
  ...section("count", 2, ["7"]),
  ...section("names", 1, ["é", "\n"]),
  { type: "state-end", items: 3 },
];

async function rejection(promise: Promise<unknown>): Promise<Error> {
  return await promise.then(
    () => assert.fail("it did not reject"),
    (thrown: unknown) => thrown as Error,
  );
}

describe("a successor", () => {
  it("takes over step by step", async () => {
    const successor = new Successor();
    const { inherited } = successor;
    const receiving = inherited.receiveState(READERS);
    await successor.say(...STATE);
    assert.match(
      successor.heard,
      /^\{"type":"hello","protocol":1,"pid":\d+,"sections":\{"count":\{"versions":\[1,2\],"required":true\}/,
    );
    assert.deepEqual(await receiving, {
      complete: true,
      sections: { count: { version: 2, items: [7] }, names: { version: 1, items: ["é", "\n"] } },
    });
    const prepared = inherited.prepared();
    await successor.say({ type: "commit" });
    assert.equal(await prepared, "agreed");
    const serving = inherited.serving();
    await successor.settle();
    assert.match(successor.heard, /\{"type":"prepared","items":3\}\n\{"type":"serving"\}\n$/);
    await successor.say({ type: "yours" });
    assert.equal(await serving, "agreed");
    assert.equal(successor.clock.pendingTimers, 0);
  });

  it("has no state, and nobody to ask, when its predecessor dies before all of it has come", async () => {
    for (const length of [0, 1, 3, STATE.length - 1]) {
      const successor = new Successor();
      const receiving = successor.inherited.receiveState(READERS);
      await successor.say(...STATE.slice(0, length));
      await successor.die();
      assert.deepEqual(await receiving, { complete: false });
      assert.equal(await successor.inherited.prepared(), "orphaned");
      assert.equal(await successor.inherited.serving(), "orphaned");
    }
  });

  it("takes over by itself when its predecessor dies after the state, before or after its consent", async () => {
    for (const consent of [[], [{ type: "commit" }]]) {
      const successor = new Successor();
      const receiving = successor.inherited.receiveState(READERS);
      await successor.say(...STATE);
      await receiving;
      const prepared = successor.inherited.prepared();
      await successor.say(...consent);
      await successor.die();
      assert.equal(await prepared, consent.length === 0 ? "orphaned" : "agreed");
      assert.equal(await successor.inherited.serving(), "orphaned");
    }
  });

  it("does not take over from a predecessor that has called it off, even if that one dies then", async () => {
    const successor = new Successor();
    const receiving = successor.inherited.receiveState(READERS);
    await successor.say(...STATE);
    await receiving;
    const prepared = rejection(successor.inherited.prepared());
    await successor.say({ type: "abort", why: "a stop was asked for" });
    await successor.die();
    const error = await prepared;
    assert.equal(codeOf(error), "MORENDO_HANDOVER_ABORTED");
    assert.match(error.message, /a stop was asked for/);
  });

  it("gives up when nothing is heard of its predecessor", async () => {
    const successor = new Successor();
    const receiving = rejection(successor.inherited.receiveState(READERS));
    await successor.clock.advance(60_000);
    assert.equal(codeOf(await receiving), "MORENDO_HANDOVER_TIMEOUT");
    assert.match(successor.heard, /"type":"failed","why":"nothing was heard/);
  });

  it("tells why it will not take over, once", async () => {
    const successor = new Successor();
    await successor.inherited.failed(new Error("the port is taken"));
    await successor.inherited.failed(new Error("again"));
    await successor.settle();
    assert.match(successor.heard, /^\{"type":"failed","why":"Error: the port is taken\\n {4}at .*\}\n$/);
  });

  it("does not let its steps be mixed up", async () => {
    const successor = new Successor();
    assert.match((await rejection(successor.inherited.prepared())).message, /wrong use/);
  });

  const [announced, ...rest] = STATE;
  const bad: readonly (readonly [what: string, said: readonly (object | string | undefined)[], code: string])[] = [
    ["is garbage", ["\0\0\0\n"], "PROTOCOL"],
    ["is a line without an end", ["x".repeat(4 * 1024 * 1024 + 1)], "PROTOCOL"],
    ["begins with a section", rest, "PROTOCOL"],
    ["has an item outside a section", [announced, { type: "item", value: 1 }], "PROTOCOL"],
    ["has a section within a section", [announced, rest[0], rest[0]], "PROTOCOL"],
    ["comes with the consent", [announced, { type: "commit" }], "PROTOCOL"],
    ["has a section that nobody asked for", [announced, ...section("secrets", 1, [])], "STATE"],
    ["has a section named like what every object has", [announced, ...section("constructor", 1, [])], "STATE"],
    ["has a version that was not agreed on", [announced, ...section("count", 3, [1])], "STATE"],
    ["has a section twice", [announced, ...section("count", 1, [1]), ...section("count", 1, [1])], "STATE"],
    ["lacks an item", [announced, rest[0], rest[2]], "STATE"],
    ["has another item than was written", [announced, rest[0], { type: "item", value: "8" }, rest[2]], "STATE"],
    ["lacks a section", [announced, ...section("count", 1, [1]), { type: "state-end", items: 1 }], "STATE"],
  ];
  for (const [what, said, code] of bad) {
    it(`refuses a state that ${what}, and tells its predecessor`, async () => {
      const successor = new Successor();
      const receiving = rejection(successor.inherited.receiveState(READERS));
      await successor.say(...said.filter((message) => message !== undefined));
      assert.equal(codeOf(await receiving), `MORENDO_HANDOVER_${code}`);
      await successor.settle();
      assert.match(successor.heard, /\{"type":"failed","why":"[^"]/);
      assert.equal(successor.clock.pendingTimers, 0);
    });
  }

  it("refuses a state whose items its reader cannot use, and says which", async () => {
    const successor = new Successor();
    const read = (): never => {
      throw new Error("no such user");
    };
    const receiving = rejection(successor.inherited.receiveState({ count: { versions: [2], read } }));
    await successor.say(...STATE);
    assert.match((await receiving).message, /^item 0 of state count cannot be used: no such user$/);
  });
});

describe("what a process inherits", () => {
  const clock = systemClock;

  it("is nothing when it was started plainly", () => {
    assert.equal(inheritance({ environment: { HOME: "/" }, clock }), undefined);
  });

  it("is refused when it makes no sense, and is taken out of the environment all the same", () => {
    const good = { version: 1, predecessor: 1, channel: 3, listeners: [] };
    for (const text of [
      "",
      "[]",
      "{",
      JSON.stringify({ ...good, version: 2 }),
      JSON.stringify({ ...good, channel: 0 }),
      JSON.stringify({ ...good, channel: 60_000 }),
      JSON.stringify({ ...good, listeners: [{ name: "c2s", fd: 3 }] }),
      JSON.stringify({
        ...good,
        listeners: [
          { name: "c2s", fd: 4 },
          { name: "s2s", fd: 4 },
        ],
      }),
      JSON.stringify({ ...good, listeners: "c2s" }),
    ]) {
      const environment: Record<string, string | undefined> = { MORENDO_HANDOVER: text };
      const isRefused = (thrown: unknown): boolean => codeOf(thrown) === "MORENDO_HANDOVER_ENVIRONMENT";
      assert.throws(() => inheritance({ environment, clock }), isRefused, text);
      assert.deepEqual(environment, {});
    }
  });
});
