import assert from "node:assert/strict";
import { type Clock, systemClock } from "../../../src/util/clock.ts";
import { TestAuthority } from "../../support/certificates.ts";
import { certificatesOf, Federation, phaseOf, type Side, type SideOptions, until } from "../../support/federation.ts";

describe("two servers over TLS on loopback", () => {
  const authority = TestAuthority.create();
  const stranger = TestAuthority.create("a stranger");
  let federation: Federation<Clock>;

  beforeEach(() => {
    federation = new Federation(systemClock);
  });

  afterEach(() => federation.end());

  function side(host: string, by: TestAuthority, options: Partial<SideOptions> = {}): Promise<Side> {
    const certificates = certificatesOf(host, by);
    const config = { require_tls: true, ...options.config };
    return federation.side(host, { certificates, ...options, config });
  }

  async function drain(draining: Side): Promise<void> {
    const phase = phaseOf(systemClock, 15_000);
    await draining.s2s.drain(phase);
    phase.end();
  }

  it("authenticate by certificate and acknowledge, also when dialback is denied", async () => {
    const config = { dialback: "deny" };
    const a = await side("a.test", authority, { config });
    const b = await side("b.test", authority, { config });
    a.presence(1_000, "juliet@b.test", "unavailable");
    b.message("m1", "romeo@a.test");
    await until(() => a.delivered.length === 1, "the message arrived");
    await drain(a);
    assert.equal(b.delivered.length, 1_000);
    assert.deepEqual(a.counts, { "proved/sm-ack": 1_000 });
    await drain(b);
    assert.deepEqual(b.counts, { "proved/sm-ack": 1 });
  });

  it("fall back to dialback where the certificates lead to nobody they know", async () => {
    const a = await side("a.test", authority);
    const b = await side("b.test", stranger);
    a.presence(200, "juliet@b.test", "unavailable");
    await drain(a);
    assert.equal(b.delivered.length, 200);
    assert.deepEqual(a.counts, { "proved/pong": 200 });
  });

  it("do not speak with a stranger where dialback is denied", async () => {
    const a = await side("a.test", authority, { config: { dialback: "deny" } });
    const b = await side("b.test", stranger);
    a.message("m1", "juliet@b.test");
    b.message("m2", "romeo@a.test");
    await until(() => a.returned.length === 1 && b.returned.length === 1, "both came back");
    assert.deepEqual([...a.returned, ...b.returned], ["m1 remote-server-timeout", "m2 remote-server-timeout"]);
  });

  it("drain at the same time, each proving what it owes", async () => {
    const a = await side("a.test", authority);
    const b = await side("b.test", authority);
    a.presence(300, "juliet@b.test", "unavailable");
    b.presence(300, "romeo@a.test", "unavailable");
    await until(() => a.delivered.length > 0 && b.delivered.length > 0, "both are connected");
    await Promise.all([drain(a), drain(b)]);
    assert.equal(a.fates.length, 300);
    assert.equal(b.fates.length, 300);
    for (const each of [a, b]) assert.ok(each.fates.every(({ fate }) => fate === "proved" || fate === "returned"));
  });
});
