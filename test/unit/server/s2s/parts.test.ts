import assert from "node:assert/strict";
import { DialGate } from "../../../../src/server/s2s/dial-gate.ts";
import { DialbackKeys, dialbackSecret } from "../../../../src/server/s2s/dialback-keys.ts";
import { Fates, nameOf, type Owed } from "../../../../src/server/s2s/fates.ts";
import { Pings } from "../../../../src/server/s2s/pings.ts";
import { SendQueue } from "../../../../src/server/s2s/send-queue.ts";
import type { Stanza, StanzaKind } from "../../../../src/stanza/stanza.ts";
import { StanzaError } from "../../../../src/stanza/stanza-error.ts";
import { MemoryStore } from "../../../../src/store/memory.ts";
import { ManualClock } from "../../../../src/testing/manual-clock.ts";
import { silentLog } from "../../../../src/util/log.ts";
import { systemRandom } from "../../../../src/util/random.ts";
import { TimerWheel } from "../../../../src/util/timer-wheel.ts";
import { stanza as makeStanza } from "../../../support/stanzas.ts";

function stanza(kind: StanzaKind, from: string, to: string, attrs: Record<string, string> = {}): Stanza {
  return makeStanza(kind, { from, to, ...attrs });
}

describe("dialback keys", () => {
  it("are valid for exactly the pair and the stream they were made for", () => {
    const keys = new DialbackKeys(systemRandom.id());
    const key = keys.make("b.test", "a.test", "stream1");
    assert.equal(keys.verify(key, "b.test", "a.test", "stream1"), true);
    assert.equal(keys.verify(`\n${key} `, "b.test", "a.test", "stream1"), true);
    assert.equal(keys.verify(key, "c.test", "a.test", "stream1"), false);
    assert.equal(keys.verify(key, "b.test", "a.test", "stream2"), false);
    assert.equal(keys.verify("", "b.test", "a.test", "stream1"), false);
    assert.equal(new DialbackKeys(systemRandom.id()).verify(key, "b.test", "a.test", "stream1"), false);
  });

  it("are recognised by whoever has the same store", async () => {
    const store = new MemoryStore();
    const [one, other] = await Promise.all([
      dialbackSecret(store, systemRandom),
      dialbackSecret(new MemoryStore(), systemRandom),
    ]);
    assert.notEqual(one, other);
    const key = new DialbackKeys(one).make("b.test", "a.test", "stream1");
    const again = new DialbackKeys(await dialbackSecret(store, systemRandom));
    assert.equal(again.verify(key, "b.test", "a.test", "stream1"), true);
  });
});

describe("the queue of a link", () => {
  const owed = (of: Stanza): Owed => ({
    stanza: of,
    domain: "b.test",
    size: of.text.length,
    broken: 0,
    settled: false,
    written: false,
    standsInFor: undefined,
    at: 0,
    entry: undefined,
  });

  it("is bounded by count and by size", () => {
    const queue = new SendQueue(2, 1_000);
    assert.equal(queue.fits(1_001, 0, 0), false);
    assert.equal(queue.fits(500, 0, 501), false);
    assert.equal(queue.fits(10, 2, 0), false);
    queue.push(owed(stanza("message", "a@a.test/x", "b@b.test")));
    queue.push(owed(stanza("message", "a@a.test/x", "b@b.test")));
    assert.equal(queue.fits(10, 0, 0), false);
    assert.equal(queue.fits(10, 0, 0, 10), true);
  });

  it("keeps the latest presence of each pair, which stands in for the older ones", () => {
    const queue = new SendQueue(100, 100_000);
    const first = owed(stanza("presence", "a@a.test/x", "b@b.test"));
    const other = owed(stanza("presence", "a@a.test/y", "b@b.test"));
    const subscribe = owed(stanza("presence", "a@a.test/x", "b@b.test", { type: "subscribe" }));
    const message = owed(stanza("message", "a@a.test/x", "b@b.test"));
    const second = owed(stanza("presence", "a@a.test/x", "b@b.test"));
    const last = owed(stanza("presence", "a@a.test/x", "b@b.test", { type: "unavailable" }));
    queue.push(last);
    queue.putBack([first, other, subscribe, message, second]);
    assert.deepEqual(queue.takeAll(), [other, subscribe, message, last]);
    assert.equal(last.standsInFor, second);
    assert.equal(second.standsInFor, first);
  });

  it("gives those that were stood in for the fate of their successor, each once", () => {
    const settled: string[] = [];
    const fates = new Fates({
      obligations: { settle: (domain, fate) => settled.push(`${domain} ${fate}`) },
      returnToSender: () => false,
      onSettled: () => undefined,
      wallTime: () => 0,
      log: silentLog,
    });
    const queue = new SendQueue(100, 100_000);
    const older = fates.take(stanza("presence", "a@a.test/x", "b@b.test"), "b.test");
    const newer = fates.take(stanza("presence", "a@a.test/x", "b@b.test", { type: "unavailable" }), "b.test");
    queue.putBack([older, newer]);
    assert.equal(fates.outstanding, 2);
    fates.prove(newer, "pong");
    fates.prove(newer, "pong");
    fates.lose(older);
    assert.deepEqual(settled, ["b.test proved", "b.test proved"]);
    assert.equal(fates.outstanding, 0);
  });
});

describe("fates", () => {
  it("says returned only when a sender was told, and names what is lost", () => {
    const settled: unknown[] = [];
    let present = true;
    const fates = new Fates({
      obligations: { settle: (domain, fate, { subject: _, ...detail }) => settled.push([domain, fate, detail]) },
      returnToSender: () => present,
      onSettled: () => undefined,
      wallTime: () => 0,
      log: silentLog,
    });
    const error = new StanzaError("remote-server-timeout");
    fates.giveBackOrLose(fates.take(stanza("message", "a@a.test/x", "b@b.test", { id: "1" }), "b.test"), error);
    present = false;
    const written = fates.take(stanza("message", "a@a.test/x", "b@b.test", { id: "2" }), "b.test");
    written.written = true;
    fates.giveBackOrLose(written, error);
    assert.deepEqual(settled, [
      ["b.test", "returned", {}],
      ["b.test", "lost", { name: "message a@a.test/x -> b@b.test id=2", evidence: "written" }],
    ]);
    assert.equal(nameOf(stanza("presence", "a@a.test/x", "b@b.test")), "presence a@a.test/x -> b@b.test");
  });
});

describe("pings to other domains", () => {
  it("are answered only by the domain that was asked, to the host that asked, and once", () => {
    const pings = new Pings(systemRandom);
    let answers = 0;
    const id = pings.open("a.test", "b.test", () => answers++);
    assert.equal(pings.answer(stanza("iq", "c.test", "a.test", { type: "result", id })), false);
    assert.equal(pings.answer(stanza("iq", "x@b.test", "a.test", { type: "result", id })), false);
    assert.equal(pings.answer(stanza("iq", "b.test", "c.test", { type: "result", id })), false);
    assert.equal(pings.answer(stanza("iq", "b.test", "a.test", { type: "get", id })), false);
    assert.equal(pings.answer(stanza("iq", "b.test", "a.test", { type: "result", id: "other" })), false);
    assert.equal(answers, 0);
    assert.equal(pings.answer(stanza("iq", "b.test", "a.test", { type: "error", id })), true);
    assert.equal(pings.answer(stanza("iq", "b.test", "a.test", { type: "result", id })), false);
    assert.equal(answers, 1);
  });
});

describe("the cap on dials", () => {
  it("makes the next one wait, until one is over or has become slow", async () => {
    const clock = new ManualClock();
    const gate = new DialGate(1, new TimerWheel(clock));
    const { signal } = new AbortController();
    const leave = await gate.enter(signal);
    let entered = false;
    const entering = gate.enter(signal).then((done) => {
      entered = true;
      return done;
    });
    await clock.advance(1_000);
    assert.equal(entered, false);
    await clock.advance(5_000);
    const second = await entering;
    assert.equal(entered, true);
    leave?.();
    leave?.();
    second?.();
    const third = await gate.enter(signal);
    third?.();
    assert.equal(clock.pendingTimers <= 1, true);
  });

  it("lets go of those that were given up", async () => {
    const clock = new ManualClock();
    const gate = new DialGate(1, new TimerWheel(clock));
    const giveUp = new AbortController();
    const leave = await gate.enter(new AbortController().signal);
    const waiting = gate.enter(giveUp.signal);
    giveUp.abort();
    assert.equal(await waiting, undefined);
    leave?.();
    assert.notEqual(await gate.enter(new AbortController().signal), undefined);
  });
});
