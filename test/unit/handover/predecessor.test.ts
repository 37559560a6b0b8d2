import assert from "node:assert/strict";
import type { HandoverOutcome } from "../../../src/handover/index.ts";
import { HandoverPair, HELLO, pipe } from "../../support/handover-pair.ts";

type Failure = Extract<HandoverOutcome, { ok: false }>;

async function failure(run: Promise<HandoverOutcome>): Promise<Failure> {
  const outcome = await run;
  assert.ok(!outcome.ok, "it succeeded");
  return outcome;
}

describe("a predecessor", () => {
  it("passes the service on step by step, and then refuses to do so again", async () => {
    const pair = new HandoverPair();
    const run = pair.handover.run(pair.plan());
    await pair.settle();
    assert.equal(pair.handover.step, "hello");
    await pair.clock.advance(20_000);
    assert.deepEqual(pair.events, ["step spawn", "step hello"], "nothing is disturbed before the successor is up");
    await pair.say(HELLO);
    assert.match(pair.heard, /"section","name":"count","version":1\}.*"item","value":3\}.*"state-end","items":3\}\n$/s);
    await pair.say({ type: "prepared", items: 3 });
    assert.match(pair.heard, /\{"type":"commit"\}\n$/);
    await pair.clock.advance(100);
    await pair.say({ type: "serving" });
    const outcome = await run;
    assert.ok(outcome.ok);
    assert.deepEqual([outcome.pid, outcome.frozenMs, outcome.durationMs], [4711, 100, 20_100]);
    assert.match(pair.heard, /\{"type":"yours"\}\n$/);
    assert.deepEqual(pair.events.slice(2), [
      "step freeze",
      "freeze count,1",
      "step state",
      "step prepared",
      "step serving",
      "release",
    ]);
    const again = await failure(pair.handover.run(pair.plan()));
    assert.deepEqual([again.step, again.why], ["refused", "process 4711 has taken over already"]);
    assert.equal(pair.clock.pendingTimers, 0);
  });

  it("refuses a second restart while one is under way", async () => {
    const pair = new HandoverPair();
    void pair.handover.run(pair.plan());
    await pair.clock.advance(2_500);
    const second = await failure(pair.handover.run(pair.plan()));
    assert.deepEqual([second.step, second.why], ["refused", "a restart is under way for 2.5 s already (step hello)"]);
  });

  const hangs: readonly (readonly [step: string, limitMs: number, before: readonly object[]])[] = [
    ["hello", 30_000, []],
    ["prepared", 10_000, [HELLO]],
    ["serving", 10_000, [HELLO, { type: "prepared", items: 3 }]],
  ];
  for (const [step, limitMs, before] of hangs) {
    it(`gives up on a successor that hangs before ${step}, when the limit of that step is over`, async () => {
      const pair = new HandoverPair();
      const run = pair.handover.run(pair.plan());
      await pair.settle();
      for (const message of before) await pair.say(message);
      await pair.clock.advance(limitMs - 1);
      assert.ok(!pair.events.includes("kill SIGKILL"));
      await pair.clock.advance(1);
      const { step: failed, why } = await failure(run);
      assert.equal(failed, step);
      assert.match(why, new RegExp(`within ${limitMs} ms`));
      assert.match(pair.heard, /"type":"abort","why":"no word/);
      const frozen = before.length > 0;
      assert.equal(pair.events.includes("thaw"), frozen, "what was frozen, and only that, is thawed");
      assert.equal(pair.clock.pendingTimers, 0);
      assert.equal(pair.handover.step, undefined);
    });
  }

  it("bounds all steps together", async () => {
    const pair = new HandoverPair({ limits: { hello: 50_000, prepared: 50_000 } });
    const run = pair.handover.run(pair.plan());
    await pair.clock.advance(40_000);
    await pair.say(HELLO);
    await pair.clock.advance(20_000);
    const { step, why } = await failure(run);
    assert.equal(step, "prepared");
    assert.match(why, /within the time for the whole restart/);
  });

  it("does not serve again after its consent until the successor is dead", async () => {
    const pair = new HandoverPair();
    pair.dies = false;
    const run = pair.handover.run(pair.plan());
    await pair.settle();
    await pair.say(HELLO);
    await pair.say({ type: "prepared", items: 3 });
    await pair.clock.advance(10_000);
    assert.deepEqual(pair.events.slice(-2), ["step serving", "kill SIGKILL"]);
    pair.end({ code: null, signal: "SIGKILL" });
    await pair.settle();
    assert.deepEqual(pair.events.slice(-2), ["release", "thaw"]);
    await failure(run);
  });

  it("goes on at once when the successor fails before its consent, and waits for its exit code", async () => {
    const pair = new HandoverPair();
    const run = pair.handover.run(pair.plan());
    await pair.settle();
    await pair.say(HELLO);
    await pair.say({ type: "failed", why: "no such module", stderr: "oh\n" });
    assert.equal(pair.events.at(-1), "thaw");
    pair.end({ code: 2, signal: null });
    const { why, exitCode, stderrTail } = await failure(run);
    assert.deepEqual([why, exitCode, stderrTail], ["no such module", 2, "oh\n"]);
    assert.ok(!pair.events.includes("kill SIGKILL"), "it ended by itself");
  });

  it("kills a successor that says it has failed and stays", async () => {
    const pair = new HandoverPair();
    const run = pair.handover.run(pair.plan());
    await pair.settle();
    await pair.say({ type: "failed", why: "no", stderr: "" });
    await pair.clock.advance(2_000);
    await failure(run);
    assert.ok(pair.events.includes("kill SIGKILL"));
  });

  it("learns of the end of a successor whose channel one of its children still holds", async () => {
    const [channel] = pipe();
    const pair = new HandoverPair({
      spawn: async () => ({
        pid: 1,
        channel,
        exited: Promise.resolve({ code: 3, signal: null }),
        kill: () => undefined,
        release: () => undefined,
      }),
    });
    const run = pair.handover.run(pair.plan());
    await pair.clock.advance(1_000);
    const { why, exitCode } = await failure(run);
    assert.deepEqual([why, exitCode], ["the successor ended with exit code 3", 3]);
  });

  it("goes on when no process can be started", async () => {
    const pair = new HandoverPair({ spawn: () => Promise.reject(new Error("spawn nodde ENOENT")) });
    const { step, why } = await failure(pair.handover.run(pair.plan()));
    assert.deepEqual([step, why], ["spawn", "spawn nodde ENOENT"]);
    assert.deepEqual(pair.events, ["step spawn"]);
  });

  it("can be called off until the successor serves", async () => {
    const pair = new HandoverPair();
    const controller = new AbortController();
    const run = pair.handover.run(pair.plan({ signal: controller.signal }));
    await pair.settle();
    await pair.say(HELLO);
    controller.abort(new Error("a stop was asked for"));
    const { step, why } = await failure(run);
    assert.deepEqual([step, why], ["prepared", "called off: a stop was asked for"]);
    await pair.settle();
    assert.match(pair.heard, /"type":"abort","why":"called off: a stop was asked for"/);
    assert.ok(pair.events.includes("thaw") && pair.events.includes("kill SIGKILL"));
  });

  it("thaws when freezing fails or hangs, and tells the application that its snapshot is of no use", async () => {
    for (const freeze of [() => Promise.reject(new Error("disk full")), () => new Promise<never>(() => undefined)]) {
      const pair = new HandoverPair();
      let signal: AbortSignal | undefined;
      const plan = pair.plan({
        freeze: (_versions, given) => {
          signal = given;
          return freeze();
        },
      });
      const run = pair.handover.run(plan);
      await pair.settle();
      await pair.say(HELLO);
      await pair.clock.advance(5_000);
      const { step, why } = await failure(run);
      assert.equal(step, "freeze");
      assert.match(why, /disk full|no snapshot of the state within 5000 ms/);
      assert.ok(pair.events.includes("thaw"));
      assert.equal(signal?.aborted, true);
    }
  });

  it("says so when going on fails as well", async () => {
    const pair = new HandoverPair();
    const run = pair.handover.run(pair.plan({ thaw: () => Promise.reject(new Error("stuck")) }));
    await pair.settle();
    await pair.say(HELLO);
    pair.end({ code: 1, signal: null });
    await pair.clock.advance(1_000);
    assert.match((await failure(run)).why, /exit code 1; and going on failed: stuck$/);
  });

  it("fails rather than write an item that JSON cannot carry or that is too large, or a snapshot that lacks a section", async () => {
    for (const [items, why] of [
      [[undefined], /nothing that JSON can carry/],
      [["x".repeat(5_000_000)], /item 0 of state count is larger than/],
      [[1n], /BigInt/],
    ] as const) {
      const pair = new HandoverPair();
      const run = pair.handover.run(pair.plan({ freeze: () => [{ name: "count", items }] }));
      await pair.settle();
      await pair.say(HELLO);
      assert.match((await failure(run)).why, why);
    }
    const pair = new HandoverPair();
    const run = pair.handover.run(pair.plan({ freeze: () => [] }));
    await pair.settle();
    await pair.say(HELLO);
    assert.match((await failure(run)).why, /the snapshot lacks count/);
  });

  const lies: readonly (readonly [what: string, said: readonly (object | string)[], why: RegExp])[] = [
    ["speaks another version", [{ ...HELLO, protocol: 2 }], /speaks version 2 of the protocol, not 1/],
    ["sends garbage", ["GET / HTTP/1.1\r\n"], /not JSON/],
    ["sends a list", ["[]\n"], /not a message/],
    ["sends an unknown message", [{ type: "give-me-all" }], /not a message that is known here: .*give-me-all/],
    ["sends a broken hello", [{ ...HELLO, sections: { count: 1 } }], /not a message/],
    ["sends a line without an end", ["x".repeat(4 * 1024 * 1024 + 1)], /longer than 4194304 bytes/],
    ["says things out of order", [{ type: "serving" }], /said serving when hello was expected/],
    ["says hello twice", [HELLO, HELLO], /said hello when prepared was expected/],
    ["has read something else", [HELLO, { type: "prepared", items: 2 }], /has read 2 items of state, 3 were written/],
    ["knows no such state", [{ ...HELLO, sections: {} }], /state count .*the successor does not know it/],
    [
      "wants more than there is",
      [{ ...HELLO, sections: { ...HELLO.sections, rooms: { versions: [1], required: true } } }],
      /requires state rooms, which is not offered/,
    ],
  ];
  for (const [what, said, why] of lies) {
    it(`goes on when the successor ${what}`, async () => {
      const pair = new HandoverPair();
      const run = pair.handover.run(pair.plan());
      await pair.settle();
      for (const message of said) await pair.say(message);
      assert.match((await failure(run)).why, why);
      assert.ok(pair.events.includes("kill SIGKILL"));
      assert.equal(pair.events.includes("freeze count,1"), pair.events.includes("thaw"));
      assert.equal(pair.clock.pendingTimers, 0);
    });
  }
});
