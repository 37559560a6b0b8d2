import assert from "node:assert/strict";
import { AckWindow, HandledCounter, parseH } from "../../../src/stream/acks.ts";

describe("the window of what is not yet acknowledged", () => {
  it("hands out what an h newly covers, in order and once", () => {
    const window = new AckWindow<string>();
    for (const item of ["a", "b", "c"]) window.add(item);
    const taken: string[] = [];
    assert.equal(
      window.acknowledge(2, (item) => taken.push(item)),
      true,
    );
    assert.equal(
      window.acknowledge(2, (item) => taken.push(item)),
      true,
    );
    assert.deepEqual(taken, ["a", "b"]);
    assert.equal(window.pending, 1);
    assert.deepEqual(window.takeAll(), ["c"]);
    assert.equal(window.pending, 0);
  });

  it("refuses an h above what was sent, and one that goes back, and then takes nothing", () => {
    const window = new AckWindow<string>();
    window.add("a");
    window.add("b");
    const taken: string[] = [];
    assert.equal(
      window.acknowledge(3, (item) => taken.push(item)),
      false,
    );
    assert.equal(
      window.acknowledge(1, (item) => taken.push(item)),
      true,
    );
    assert.equal(
      window.acknowledge(0, (item) => taken.push(item)),
      false,
    );
    assert.deepEqual(taken, ["a"]);
  });

  it("goes on from what was proved before, across the wrap, and shows what waits", () => {
    const window = new AckWindow<string>(2 ** 32 - 1);
    for (const item of ["a", "b", "c"]) window.add(item);
    assert.deepEqual([...window.items()], ["a", "b", "c"]);
    assert.deepEqual(
      [2 ** 32 - 2, 2 ** 32 - 1, 0, 2, 3].map((h) => window.covers(h)),
      [false, true, true, true, false],
    );
    const taken: string[] = [];
    assert.ok(window.acknowledge(1, (item) => taken.push(item)));
    assert.deepEqual([taken, [...window.items()], window.sent], [["a", "b"], ["c"], 2 ** 32 + 2]);
    const handled = new HandledCounter(2 ** 32 - 1);
    handled.count();
    assert.equal(handled.h, 0);
  });

  it("keeps its counts right over many thousands of items", () => {
    const window = new AckWindow<number>();
    let next = 0;
    for (let round = 0; round < 5_000; round++) {
      window.add(round * 2);
      window.add(round * 2 + 1);
      assert.ok(window.acknowledge(round * 2 + 1, (item) => assert.equal(item, next++)));
    }
    assert.equal(window.sent, 10_000);
    assert.equal(window.proved, 9_999);
  });

  it("reads an h only where it is a number of 32 bits", () => {
    assert.equal(parseH("4294967295"), 0xffffffff);
    for (const wrong of [undefined, "", "-1", "4294967296", "1.5", "0x1", " 1"]) assert.equal(parseH(wrong), undefined);
  });

  it("counts what was handled", () => {
    const counter = new HandledCounter();
    counter.count();
    counter.count();
    assert.equal(counter.h, 2);
  });
});
