import assert from "node:assert/strict";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { Hooks } from "../../../src/util/hooks.ts";

interface Failure {
  readonly hook: string;
  readonly owner: string;
  readonly thrown: unknown;
}

function makeHooks(): { hooks: Hooks; failures: Failure[] } {
  const failures: Failure[] = [];
  return { hooks: new Hooks((hook, owner, thrown) => failures.push({ hook, owner, thrown })), failures };
}

describe("Hooks", () => {
  it("asks handlers by group and then in the order of registration, and stops at the first answer", () => {
    const { hooks } = makeHooks();
    const asked: string[] = [];
    const handler = (name: string, answer?: string) => () => {
      asked.push(name);
      return answer;
    };
    hooks.add("h", "m", handler("late"), "late");
    hooks.add("h", "m", handler("first"));
    hooks.add("h", "m", handler("second", "yes"));
    hooks.add("h", "m", handler("third", "never asked"));
    hooks.add("h", "m", handler("early"), "early");
    assert.equal(hooks.run("h", {}), "yes");
    assert.deepEqual(asked, ["early", "first", "second"]);
  });

  it("answers without a promise as long as no handler returns one", async () => {
    const { hooks } = makeHooks();
    hooks.add("h", "m", () => undefined);
    assert.equal(hooks.run("h", {}), undefined);
    hooks.add("h", "m", async () => 7);
    const answer = hooks.run("h", {});
    assert.ok(answer instanceof Promise);
    assert.equal(await answer, 7);
  });

  it("reports a handler that throws or rejects under its owner's name, and asks the next", async () => {
    const { hooks, failures } = makeHooks();
    hooks.add("h", "thrower", () => {
      throw new Error("one");
    });
    hooks.add("h", "rejecter", () => Promise.reject(new Error("two")));
    hooks.add("h", "good", () => "fine");
    assert.equal(await hooks.run("h", {}), "fine");
    assert.deepEqual(
      failures.map(({ owner }) => owner),
      ["thrower", "rejecter"],
    );
  });

  it("can lose a handler during a run without skipping another", () => {
    const { hooks } = makeHooks();
    const asked: string[] = [];
    const removeFirst = hooks.add("h", "m", () => {
      asked.push("first");
      removeFirst();
      return undefined;
    });
    hooks.add("h", "m", () => {
      asked.push("second");
      return undefined;
    });
    hooks.run("h", {});
    hooks.run("h", {});
    assert.deepEqual(asked, ["first", "second", "second"]);
    assert.equal(hooks.count("h"), 1);
  });

  it("calls all handlers at once where everybody acts, and names those that are still at work", async () => {
    const { hooks, failures } = makeHooks();
    const called: string[] = [];
    hooks.add("h", "never", () => new Promise(() => called.push("never")));
    hooks.add("h", "thrower", () => {
      called.push("thrower");
      throw new Error("no");
    });
    hooks.add("h", "slow", async () => {
      called.push("slow");
      return undefined;
    });
    const pending = hooks.all("h", {});
    assert.deepEqual(called, ["never", "thrower", "slow"]);
    assert.deepEqual(
      pending.map(({ owner }) => owner),
      ["never", "slow"],
    );
    await pending[1]?.settled;
    assert.equal(failures.length, 1);
  });

  it("asks those of a lower rank first within an order, whenever they were added", () => {
    const { hooks } = makeHooks();
    const asked: string[] = [];
    const add = (name: string, order: "early" | "normal", rank: number) =>
      hooks.add("h", "m", () => void asked.push(name), order, rank);
    add("second", "normal", 2);
    add("third", "normal", 3);
    const remove = add("first", "normal", 1);
    add("early", "early", 9);
    hooks.run("h", {});
    remove();
    add("first again", "normal", 1);
    hooks.run("h", {});
    assert.deepEqual(asked, ["early", "first", "second", "third", "early", "first again", "second", "third"]);
  });

  describe("that do not settle", () => {
    function watched() {
      const clock = new ManualClock();
      const told: string[] = [];
      const hooks = new Hooks(() => undefined, {
        clock,
        afterMs: 1_000,
        tell: (hook, owner) => told.push(`${owner} at ${hook}, ${clock.now()} ms`),
      });
      return { clock, told, hooks };
    }

    it("are told of once each, and quick ones never", async () => {
      const { clock, told, hooks } = watched();
      hooks.add("never", "hanger", () => new Promise(() => undefined));
      hooks.add("quick", "runner", () => clock.sleep(900).then(() => undefined));
      void hooks.run("never", {});
      void hooks.run("quick", {});
      await clock.advance(500);
      void hooks.run("quick", {});
      void hooks.run("never", {});
      assert.equal(hooks.waitingFor().length, 4);
      await clock.advance(60_000);
      assert.deepEqual(told, ["hanger at never, 1000 ms", "hanger at never, 2000 ms"]);
      assert.deepEqual(hooks.waitingFor(), [
        { hook: "never", owner: "hanger" },
        { hook: "never", owner: "hanger" },
      ]);
      assert.equal(clock.pendingTimers, 0, "a timer runs though nobody new waits");
    });

    it("cost no timer after close", async () => {
      const { clock, told, hooks } = watched();
      hooks.add("never", "hanger", () => new Promise(() => undefined));
      void hooks.run("never", {});
      assert.equal(clock.pendingTimers, 1);
      hooks.close();
      void hooks.run("never", {});
      assert.equal(clock.pendingTimers, 0);
      await clock.advance(5_000);
      assert.deepEqual(told, []);
    });
  });
});
