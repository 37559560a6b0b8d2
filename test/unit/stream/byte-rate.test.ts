import assert from "node:assert/strict";
import { ByteRate } from "../../../src/stream/byte-rate.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";

describe("ByteRate", () => {
  it("lets a burst pass and then makes bytes wait for their time", () => {
    const rate = new ByteRate({ rate: 100, burst: 1000 }, new ManualClock());
    assert.equal(rate.take(1000, 0), 0);
    assert.equal(rate.take(50, 0), 500);
    assert.equal(rate.take(50, 500), 500);
  });

  it("saves up no more than a burst", () => {
    const rate = new ByteRate({ rate: 100, burst: 1000 }, new ManualClock());
    assert.equal(rate.take(1000, 3_600_000), 0);
    assert.equal(rate.take(1, 3_600_000), 10);
  });

  it("keeps a debt when its limits change", () => {
    const rate = new ByteRate({ rate: 100, burst: 100 }, new ManualClock());
    assert.equal(rate.take(200, 0), 1000);
    rate.setLimits({ rate: 1000, burst: 100 });
    assert.equal(rate.take(0, 0), 100);
    rate.setLimits({ rate: 1000, burst: 300 });
    assert.equal(rate.take(0, 0), 0);
  });
});
