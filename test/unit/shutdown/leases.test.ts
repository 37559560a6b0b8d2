// Leases: named, released once however often that is said.

import assert from "node:assert/strict";
import { Leases } from "../../../src/shutdown/leases.ts";
import { MorendoError } from "../../../src/util/errors.ts";

describe("Leases", () => {
  it("tell who still holds, also under the same name twice", () => {
    const leases = new Leases();
    const first = leases.take("b.test");
    leases.take("b.test");
    leases.take("c.test");
    first.release();
    first.release();
    assert.deepEqual(leases.holders(), ["b.test", "c.test"]);
    assert.deepEqual(leases.holders(1), ["b.test"]);
  });

  it("say each release once", () => {
    let releases = 0;
    const leases = new Leases(() => releases++);
    const lease = leases.take("a");
    lease.release();
    lease.release();
    assert.equal(releases, 1);
    assert.equal(leases.size, 0);
  });

  it("are refused once the set is closed, which names the late", () => {
    const leases = new Leases();
    leases.take("late");
    assert.deepEqual(leases.close(), ["late"]);
    assert.throws(
      () => leases.take("new"),
      (thrown) => thrown instanceof MorendoError && thrown.code === "MORENDO_PHASE_OVER",
    );
  });
});
