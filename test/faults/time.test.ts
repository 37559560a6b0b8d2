// A disk that is slow, a disk that fails now and then, and a clock on the wall that jumps: what is said to be there is there,
// and what runs by the clock that never goes back is not disturbed.

import assert from "node:assert/strict";
import offline from "../../modules/offline/index.ts";
import ping from "../../modules/ping/index.ts";
import presence from "../../modules/presence/index.ts";
import roster from "../../modules/roster/index.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";
import { attributeOf, type RawClient } from "../../src/testing/raw-client.ts";
import { SeededRandom } from "../../src/testing/simulation/seeded-random.ts";
import { MorendoError } from "../../src/util/errors.ts";
import { MemoryLives } from "../support/memory-lives.ts";
import { SmClient } from "../support/sm-client.ts";

const MODULES = [roster, presence, offline, ping];
const ACCOUNTS = ["romeo", "juliet", "nurse"];
const HOUR = 3_600_000;

function bodiesOf(client: RawClient): string[] {
  return client.received.flatMap(({ xml }) =>
    xml.startsWith("<message") && !/type=.error/.test(xml) ? (/<body>(.*?)<\/body>/.exec(xml)?.slice(1) ?? []) : [],
  );
}

function returnedTo(client: RawClient): string[] {
  return client.received.flatMap(({ xml }) =>
    /^<message[^>]*type=.error/.test(xml) ? [attributeOf(xml, "id") ?? ""] : [],
  );
}

describe("A disk", function () {
  this.timeout(60_000);
  let lives: MemoryLives;

  beforeEach(async () => {
    lives = new MemoryLives({}, { accounts: ACCOUNTS, modules: MODULES });
    await lives.start();
  });

  afterEach(() => lives.end());

  it("that takes ten seconds for each write holds up the acknowledgement, and nobody else", async () => {
    const romeo = await lives.pass(SmClient.start(lives, "romeo", "1"));
    const juliet = await lives.pass(SmClient.start(lives, "juliet", "1"));
    lives.disk.hooks.beforeFlush = () => lives.clock.sleep(10_000);
    romeo.message("nurse@a.test", "slow");
    const answer = romeo.carried();
    await lives.clock.advance(5_000);
    assert.equal(
      romeo.raw.received.some(({ xml }) => xml.startsWith("<a ")),
      false,
      "said to be carried before it is on the disk",
    );
    juliet.message("juliet@a.test/1", "to myself");
    await lives.pass(juliet.got("to myself"));
    assert.ok(lives.clock.now() < 10_000, "somebody else waited for the disk");
    assert.equal(await lives.pass(answer, 100), 1);
    const report = await lives.pass(lives.server.stop(), 50);
    assert.ok(report.durationMs <= 25_000);
    assert.equal(report.obligations.run.lost, 0);
  });

  it("that fails now and then costs no message: each is kept, or comes back to who wrote it", async () => {
    const random = new SeededRandom(7);
    const fail = (): void => {
      if (random.chance(0.3)) throw new MorendoError("MORENDO_STORE_FULL", "the disk is full");
    };
    const romeo = await lives.pass(SmClient.start(lives, "romeo", "1"));
    lives.disk.hooks.beforeWrite = fail;
    lives.disk.hooks.beforeFlush = fail;
    const all = Array.from({ length: 60 }, (_, number) => `m${number}`);
    for (const body of all) romeo.message("nurse@a.test", body);
    await lives.pass(romeo.carried(), 5);
    lives.disk.hooks.beforeWrite = undefined;
    lives.disk.hooks.beforeFlush = undefined;
    const nurse = lives.client({ username: "nurse", resource: "1" });
    await lives.pass(nurse.login());
    nurse.presence();
    await lives.clock.advance(5_000);
    const kept = bodiesOf(nurse);
    const returned = returnedTo(romeo.raw);
    assert.ok(kept.length > 5 && returned.length > 5, `${kept.length} kept, ${returned.length} returned`);
    assert.deepEqual(
      all.filter((body) => !kept.includes(body) && !returned.includes(body)),
      [],
    );
    assert.equal(new Set(kept).size, kept.length, "kept twice");
  });
});

describe("A clock on the wall that jumps", function () {
  this.timeout(60_000);

  for (const [what, jumpMs] of [
    ["forwards by a year", 365 * 24 * HOUR],
    ["back by a year", -365 * 24 * HOUR],
  ] as const) {
    it(`${what} ends no session, holds up nothing and leaves the stop in time`, async () => {
      const clock = new JumpingClock();
      const lives = new MemoryLives(
        { s2s: { require_tls: false } },
        { accounts: ACCOUNTS, modules: MODULES },
        {},
        clock,
      );
      await lives.peer({ domain: "b.test" });
      await lives.start();
      const juliet = await lives.pass(SmClient.start(lives, "juliet", "1"));
      const romeo = await lives.pass(SmClient.start(lives, "romeo", "1"));
      juliet.raw.reset();
      await lives.clock.advance(100);
      assert.equal(lives.server.status.hibernating, 1);
      clock.jumpMs = jumpMs;
      await lives.clock.advance(2_000);
      assert.equal(lives.server.status.hibernating, 1, "the session ended by the wall clock");
      romeo.message("juliet@a.test/1", "across");
      romeo.message("x@b.test", "abroad");
      await lives.until(
        () => lives.arrivedAt("b.test").length === 1,
        () => "the message to b.test",
      );
      const back = await lives.pass(SmClient.resume(lives, juliet.identity));
      back.resumed();
      await lives.pass(back.got("across"));
      const report = await lives.pass(lives.server.stop(), 20);
      assert.equal(report.outcome, "clean", JSON.stringify(report.phases));
      assert.ok(report.durationMs >= 0 && report.durationMs <= 25_000, `${report.durationMs} ms`);
      await lives.end();
    });
  }
});

/** Its calendar can be changed; the clock that never goes back does not notice. */
class JumpingClock extends ManualClock {
  jumpMs = 0;

  override wallTime(): number {
    return super.wallTime() + this.jumpMs;
  }
}
