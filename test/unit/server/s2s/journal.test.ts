import assert from "node:assert/strict";
import { TcpNetwork } from "../../../../src/net/tcp.ts";
import type { Network } from "../../../../src/net/transport.ts";
import { JOURNAL, recordSender, stanzaOf } from "../../../../src/server/s2s/journal-records.ts";
import { MemoryStore } from "../../../../src/store/memory.ts";
import { CorruptRecordError } from "../../../../src/store/records.ts";
import type { Key, Value, Write } from "../../../../src/store/store.ts";
import { ManualClock } from "../../../../src/testing/manual-clock.ts";
import type { ScriptedPeer } from "../../../../src/testing/scripted-peer.ts";
import { type Logger, silentLog } from "../../../../src/util/log.ts";
import { withResolvers } from "../../../../src/util/with-resolvers.ts";
import { type Element, xml } from "../../../../src/xml/element.ts";
import { NS } from "../../../../src/xml/ns.ts";
import {
  advanceUntil,
  Federation,
  type PeerSetup,
  phaseOf,
  type Side,
  type SideOptions,
  until,
} from "../../../support/federation.ts";
import { stanza } from "../../../support/stanzas.ts";

const HOUR = 3_600_000;

describe("the journal of s2s", function () {
  this.timeout(60_000);
  let clock: ManualClock;
  let federation: Federation;
  let store: MemoryStore;

  beforeEach(() => {
    clock = new ManualClock();
    federation = new Federation(clock);
    store = new MemoryStore();
  });

  afterEach(() => federation.end());

  const side = (options?: Partial<SideOptions>): Promise<Side> => federation.side("a.test", { store, ...options });

  /** A later life of the server, on the same store. */
  async function nextLife(options: Partial<SideOptions> = {}): Promise<Side> {
    const started = await side(options);
    await started.s2s.takeUpJournal();
    return started;
  }

  const peer = (setup?: PeerSetup): Promise<ScriptedPeer> =>
    federation.peer("b.test", { abilities: { sm: true }, ...setup });

  /** b.test has an address, and nobody listens there. */
  const away = (): void => federation.nobodyAt("b.test");

  async function backingOff(of: Side): Promise<void> {
    await until(() => of.s2s.links()[0]?.state === "backing-off", "b.test cannot be reached");
  }

  async function stop(of: Side, ms = 10_000): Promise<void> {
    const phase = phaseOf(clock, ms);
    let isOver = false;
    const drained = of.s2s.drain(phase).then(() => {
      isOver = true;
    });
    await advanceUntil(clock, () => isOver, "the drain is over", ms + 1);
    await drained;
    phase.end();
    await of.s2s.end(1_000);
  }

  const waiting = async (): Promise<number> => (await store.range(JOURNAL, [])).length;
  const ids = (of: ScriptedPeer): (string | undefined)[] => of.stanzas.map(({ attrs }) => attrs.id);
  const numbered = (count: number, from = 0): string[] => Array.from({ length: count }, (_, n) => `m${n + from}`);
  const delayOf = (element: Element | undefined): string | undefined =>
    element?.getChild("delay", NS.delay)?.attrs.stamp;

  describe("over a stop", () => {
    it("keeps what has no proof, and sends it once in the next life, with the time at which it came", async () => {
      away();
      const a = await side({ config: { journal: "stop" } });
      const began = clock.wallTime();
      a.say("m1", "x@b.test", xml("origin-id", { xmlns: "urn:xmpp:sid:0", id: "o1" }));
      void a.s2s.send(stanza("presence", { from: "user@a.test", to: "x@b.test", id: "s1", type: "subscribe" }));
      await stop(a);
      assert.deepEqual(a.counts, { stored: 2 });
      assert.equal(await waiting(), 2);
      await clock.advance(HOUR);

      const b = await peer();
      const next = await nextLife({ config: { journal: "stop" } });
      await advanceUntil(clock, () => next.fates.length === 2, "proved");
      assert.deepEqual(next.counts, { "proved/sm-ack": 2 });
      assert.deepEqual(ids(b), ["m1", "s1"]);
      assert.equal(delayOf(b.stanzas[0]), new Date(began).toISOString());
      assert.equal(b.stanzas[0]?.getChild("delay", NS.delay)?.attrs.from, "a.test");
      assert.equal(b.stanzas[0]?.getChild("origin-id", "urn:xmpp:sid:0")?.attrs.id, "o1");
      await advanceUntil(clock, () => next.s2s.journal?.waiting === 0, "forgotten");
      await stop(next);
      assert.equal(await waiting(), 0);

      const third = await nextLife();
      await stop(third);
      assert.equal(b.stanzas.length, 2);
    });

    it("does not stamp twice", async () => {
      away();
      const a = await side();
      a.say("m1", "x@b.test", xml("delay", { xmlns: NS.delay, from: "a.test", stamp: "2020-01-01T00:00:00Z" }));
      await stop(a);
      const b = await peer();
      await nextLife();
      await until(() => b.stanzas.length === 1, "it arrived");
      assert.deepEqual(
        b.stanzas[0]?.getChildren("delay", NS.delay).map(({ attrs }) => attrs.stamp),
        ["2020-01-01T00:00:00Z"],
      );
    });

    it("sends what was only written again, with its identifier, and never what was proved", async () => {
      let isMute = false;
      const b = await peer({
        script: {
          ack: () => (isMute ? "ignore" : "ordinary"),
          closing: () => (isMute ? "ignore" : "ordinary"),
        },
      });
      const a = await side();
      a.say("m1", "x@b.test");
      await advanceUntil(clock, () => a.fates.length === 1, "proved");
      isMute = true;
      a.say("m2", "x@b.test");
      await until(() => b.stanzas.length === 2, "it arrived");
      await stop(a);
      assert.deepEqual(a.counts, { "proved/sm-ack": 1, "stored/written": 1 });
      isMute = false;
      const next = await nextLife();
      await advanceUntil(clock, () => next.fates.length === 1, "proved");
      assert.deepEqual(ids(b), ["m1", "m2", "m2"]);
    });

    it("answers requests, and drops what is of no use later", async () => {
      away();
      const a = await side();
      const from = "user@a.test/r";
      void a.s2s.send(stanza("iq", { from, to: "x@b.test", id: "q", type: "get" }, xml("query", { xmlns: "x" })));
      void a.s2s.send(stanza("iq", { from, to: "x@b.test", id: "r", type: "result" }));
      void a.s2s.send(stanza("message", { from, to: "x@b.test", id: "e", type: "error" }));
      void a.s2s.send(stanza("message", { from, to: "x@b.test", id: "h", type: "headline" }, xml("body", {}, "x")));
      a.say("n", "x@b.test", xml("no-store", { xmlns: "urn:xmpp:hints" }));
      await backingOff(a);
      a.sendersPresent = false;
      a.message("typing", "x@b.test");
      await stop(a);
      assert.equal(await waiting(), 0);
      assert.deepEqual(
        a.returned.sort(),
        ["h", "n", "q"].map((id) => `${id} remote-server-timeout`),
      );
      assert.deepEqual(a.counts, { returned: 3, dropped: 3 });
    });

    it("keeps presence by its last state, and says in the next life only what is still true", async () => {
      away();
      const available = new Set(["here@a.test/r", "kept@a.test/r", "leaving@a.test/r", "back@a.test/r"]);
      const a = await side({ available, sendersPresent: false });
      const says = (who: string, type?: string): void => {
        const attrs = { from: `${who}@a.test/r`, to: "x@b.test", id: `${who} ${type ?? "available"}` };
        void a.s2s.send(stanza("presence", type === undefined ? attrs : { ...attrs, type }));
      };
      says("gone");
      says("gone", "unavailable");
      says("here");
      says("kept");
      says("leaving");
      says("back", "unavailable");
      says("forgotten");
      await stop(a);
      const counts = a.counts;
      assert.equal(counts.lost, undefined);
      assert.equal(counts.dropped, 1, "nobody is to be told of somebody who is not there");
      assert.equal(await waiting(), 5);

      available.delete("leaving@a.test/r");
      const b = await peer();
      const next = await nextLife({ available });
      await advanceUntil(clock, () => next.s2s.journal?.waiting === 0, "all are settled");
      assert.deepEqual(new Set(ids(b)), new Set(["gone unavailable", "here available", "kept available"]));
      assert.deepEqual(next.counts, { "proved/sm-ack": 3, dropped: 2 });
    });

    it("tells senders of what cannot be written", async () => {
      away();
      const a = await side({ sendersPresent: false });
      a.say("m1", "x@b.test");
      store.hooks.beforeWrite = () => {
        throw new Error("the disk is full");
      };
      await stop(a);
      assert.deepEqual(
        a.told.map(({ id }) => id),
        ["m1"],
      );
      assert.deepEqual(a.counts, { returned: 1 });
    });

    it("has a fate for each stanza also when the disk does not come to an end", async () => {
      away();
      const a = await side();
      for (const id of numbered(3)) a.say(id, "x@b.test");
      let open = (): void => undefined;
      const gate = new Promise<void>((resolve) => {
        open = resolve;
      });
      store.hooks.beforeWrite = () => gate;
      const stopping = stop(a);
      let isOver = false;
      void stopping.then(() => {
        isOver = true;
      });
      await advanceUntil(clock, () => isOver, "the stop is over", 20_000);
      assert.deepEqual(a.counts, {}, "nobody knows yet");
      a.s2s.abandonJournal();
      assert.deepEqual(a.counts, { lost: 3 });
      assert.deepEqual(a.told, []);
      open();
      await stopping;
      await until(() => a.s2s.journal?.waiting === 0, "the disk has come to an end");
      assert.deepEqual(a.counts, { lost: 3 });
    });

    it("has the fate of what the disk was busy with when the disk has come to an end", async () => {
      away();
      const a = await side();
      for (const id of numbered(3)) a.say(id, "x@b.test");
      const busy = withResolvers();
      store.hooks.beforeWrite = () => busy.promise;
      let isOver = false;
      const stopping = stop(a).then(() => {
        isOver = true;
      });
      await advanceUntil(clock, () => isOver, "the stop is over", 20_000);
      await stopping;
      const closing = store.close();
      busy.resolve();
      await closing;
      await a.s2s.journalIdle();
      a.s2s.abandonJournal();
      assert.deepEqual(a.counts, { stored: 3 });
    });

    it("has what it wrote after a crash right behind", async () => {
      away();
      const a = await side();
      for (const id of numbered(50)) a.say(id, "x@b.test");
      await backingOff(a);
      await until(() => a.counts.stored === 50, "all are on the disk");
      store = store.afterCrash();
      a.s2s.destroy();
      const b = await peer();
      const next = await nextLife();
      await advanceUntil(clock, () => next.fates.length === 50, "proved");
      assert.deepEqual(ids(b), numbered(50));
    });

    it("takes 10,000 stanzas to the disk in the time that is kept for it", async () => {
      await peer({ script: { header: "ignore" } });
      const a = await side({ config: { journal_max_per_sender: 10_000 } });
      for (const id of numbered(10_000)) a.say(id, "x@b.test");
      await stop(a);
      assert.deepEqual(a.counts, { stored: 10_000 });
      assert.ok(clock.now() < 10_000);
    });
  });

  describe("while a domain is away", () => {
    it("keeps what is for it, tells nobody, and delivers everything in order and once when it is back", async () => {
      away();
      const a = await side();
      for (const id of numbered(5)) a.say(id, "x@b.test");
      await backingOff(a);
      for (const id of numbered(300, 5)) a.say(id, "x@b.test");
      await until(() => a.counts.stored === 305, "all are on the disk");
      assert.deepEqual(a.returned, []);
      assert.equal(a.s2s.journal?.waiting, 305);
      assert.deepEqual(a.s2s.journal?.domains, { "b.test": 305 });
      const b = await peer();
      const proved = (): number => a.counts["proved/sm-ack"] ?? 0;
      await advanceUntil(clock, () => proved() === 305, "all are proved");
      assert.deepEqual(ids(b), numbered(305));
      a.say("after", "x@b.test");
      await advanceUntil(clock, () => proved() === 306, "the last one too");
      assert.equal(ids(b).at(-1), "after");
      assert.equal(delayOf(b.stanzas.at(-1)), undefined);
      await advanceUntil(clock, () => a.s2s.status().queued === 0, "nothing is owed");
      await stop(a);
      assert.equal(await waiting(), 0);
    });

    it("lets nothing overtake what is on its way from the disk", async () => {
      away();
      const a = await side();
      for (const id of numbered(400)) a.say(id, "x@b.test");
      await backingOff(a);
      await until(() => a.counts.stored === 400, "all are on the disk");
      let next = 400;
      const b = await peer({
        script: {
          stanza: (_connection, element) => {
            if (element?.attrs.id?.endsWith("0") === true && next < 500) a.say(`m${next++}`, "x@b.test");
            return "ordinary";
          },
        },
      });
      await advanceUntil(clock, () => b.stanzas.length >= 400 && b.stanzas.length === next, "all arrived");
      assert.deepEqual(ids(b), numbered(next));
    });

    it("sends what a broken stream took with it again, before what came later", async () => {
      let isMute = true;
      const b = await peer({ script: { ack: () => (isMute ? "ignore" : "ordinary") } });
      const a = await side();
      for (const id of numbered(3)) a.say(id, "x@b.test");
      await until(() => b.stanzas.length === 3, "it arrived");
      await b.crash();
      await until(() => a.s2s.links()[0]?.state !== "open", "it is noticed");
      a.say("m3", "x@b.test");
      isMute = false;
      await b.listen();
      await advanceUntil(clock, () => a.counts["proved/sm-ack"] === 4, "all are proved");
      assert.deepEqual(ids(b), [...numbered(3), ...numbered(4)]);
      assert.deepEqual(a.returned, []);
    });

    it("does not let one stanza that breaks every stream hold up the others for ever", async () => {
      const b = await peer({
        script: { stanza: (_connection, element) => (element?.attrs.id === "m0" ? "reset" : "ordinary") },
      });
      const a = await side();
      for (const id of numbered(3)) a.say(id, "x@b.test");
      await advanceUntil(clock, () => a.counts["proved/sm-ack"] === 2, "the others get through");
      assert.deepEqual(
        a.told.map(({ id }) => id),
        ["m0"],
      );
      assert.deepEqual(
        [...new Set(ids(b))].filter((id) => id !== "m0"),
        ["m1", "m2"],
      );
    });

    it("gives back at once what no later attempt could deliver", async () => {
      const a = await side();
      a.say("m1", "x@nowhere.test");
      await until(() => a.returned.length === 1, "returned");
      assert.deepEqual(a.returned, ["m1 remote-server-not-found"]);
      a.say("m2", "x@nowhere.test");
      assert.equal(a.returned.length, 2);
      const b = await peer({ script: { dialback: "refuse" } });
      a.say("m3", "x@b.test");
      await until(() => a.returned.length === 3, "a refusal is final");
      assert.equal(b.stanzas.length, 0);
      assert.equal(await waiting(), 0);
    });

    it("gives back what waits when the domain turns out not to exist", async () => {
      away();
      const a = await side();
      for (const id of numbered(3)) a.say(id, "x@b.test");
      await until(() => a.counts.stored === 3, "all are on the disk");
      federation.routes.delete("b.test");
      await advanceUntil(clock, () => a.told.length === 3, "all senders are told", 10 * HOUR, 5_000);
      assert.equal(a.told[0]?.element.getChildText("body"), "hear m0");
      assert.deepEqual(a.counts, { stored: 3, returned: 3 });
      await advanceUntil(clock, () => a.s2s.journal?.waiting === 0, "forgotten");
    });

    it("tells senders of what has waited too long, with what they had sent", async () => {
      away();
      const a = await side({ config: { journal_lifetime: "2h" } });
      a.say("m1", "x@b.test");
      await until(() => a.counts.stored === 1, "it is on the disk");
      await clock.advance(HOUR);
      assert.equal(a.told.length, 0);
      await advanceUntil(clock, () => a.told.length === 1, "told", 2 * HOUR, 10_000);
      const [error] = a.told;
      assert.equal(error?.type, "error");
      assert.equal(error?.element.getChildText("body"), "hear m1");
      assert.notEqual(error?.element.getChild("error")?.getChild("remote-server-timeout", NS.stanzaErrors), undefined);
      await stop(a);
      assert.equal(await waiting(), 0);
    });

    it("tells them in the next life too", async () => {
      away();
      const a = await side();
      a.say("m1", "x@b.test");
      await stop(a);
      await clock.advance(25 * HOUR);
      const b = await peer();
      const next = await nextLife();
      await advanceUntil(clock, () => next.told.length === 1, "told");
      assert.deepEqual(next.counts, { returned: 1 });
      assert.equal(b.stanzas.length, 0);
    });

    it("tells them in time whatever the calendar said when others came that wait before theirs", async () => {
      away();
      const a = await side({ config: { journal_lifetime: "5m" } });
      const { wallTime } = clock;
      clock.wallTime = () => wallTime.call(clock) + 1_000 * HOUR;
      a.say("from-the-future", "x@b.test");
      clock.wallTime = wallTime;
      a.say("m1", "x@b.test");
      await until(() => a.counts.stored === 2, "both are on the disk");
      await advanceUntil(clock, () => a.told.length > 0, "told", HOUR, 5_000);
      assert.deepEqual(
        a.told.map(({ id }) => id),
        ["m1"],
      );
      const b = await peer();
      await advanceUntil(clock, () => a.s2s.journal?.waiting === 0, "the other one arrives", HOUR, 1_000);
      assert.deepEqual(ids(b), ["from-the-future"]);
    });

    it("has bounds, for a domain and in all, beyond which everything comes back at once", async () => {
      away();
      federation.nobodyAt("c.test");
      const a = await side({ config: { journal_max: 5, journal_max_per_domain: 3 } });
      for (const id of numbered(4)) a.say(id, "x@b.test");
      for (const id of numbered(4, 4)) a.say(id, "x@c.test");
      await until(() => a.fates.length === 8, "all have their fate");
      assert.deepEqual(a.counts, { stored: 5, returned: 3 });
      assert.deepEqual(
        a.returned,
        ["m3", "m6", "m7"].map((id) => `${id} resource-constraint`),
      );
    });

    it("has bounds by size", async () => {
      away();
      const a = await side({ config: { journal_max_size_per_domain: "500B" } });
      for (const id of numbered(10)) a.say(id, "x@b.test");
      await until(() => a.fates.length === 10, "all have their fate");
      assert.ok((a.counts.returned ?? 0) > 3 && (a.counts.stored ?? 0) > 1, JSON.stringify(a.counts));
    });

    it("gives everything back at once where the journal is for stops only, or for nothing", async () => {
      away();
      for (const journal of ["stop", "off"]) {
        const a = await side({ config: { journal } });
        a.say("m1", "x@b.test");
        await until(() => a.returned.length === 1, "it came back");
      }
      assert.equal(await waiting(), 0);
    });

    it("keeps that somebody is gone when patience with the domain is over, unless he is back", async () => {
      away();
      const available = new Set<string>();
      const a = await side({ available, sendersPresent: false });
      for (const n of [0, 1]) {
        void a.s2s.send(
          stanza("presence", { from: `user${n}@a.test/r`, to: "x@b.test", id: `p${n}`, type: "unavailable" }),
        );
      }
      await advanceUntil(clock, () => a.counts.stored === 2, "both are kept", 3 * HOUR, 5_000);
      available.add("user1@a.test/r");
      const b = await peer();
      await advanceUntil(clock, () => a.s2s.journal?.waiting === 0, "settled", HOUR, 5_000);
      assert.deepEqual(ids(b), ["p0"]);
    });
  });

  describe("of one sender", () => {
    const says = (of: Side, who: string, id: string, text = "x"): void =>
      void of.s2s.send(
        stanza("message", { from: `${who}@a.test/r`, to: "x@b.test", id, type: "chat" }, xml("body", {}, text)),
      );
    const goes = (of: Side, resource: string): void =>
      void of.s2s.send(
        stanza("presence", { from: `user@a.test/${resource}`, to: "x@b.test", id: resource, type: "unavailable" }),
      );

    it("is bounded, whatever his resource, and what exceeds it comes back while others have room", async () => {
      away();
      federation.nobodyAt("c.test");
      const a = await side({ config: { journal_max_per_sender: 3 } });
      for (const id of numbered(2)) a.say(id, "x@b.test");
      a.say("m2", "x@c.test");
      await until(() => a.counts.stored === 3, "he has what he may");
      a.say("m3", "x@c.test");
      void a.s2s.send(
        stanza("message", { from: "user@a.test/other", to: "x@b.test", id: "m4", type: "chat" }, xml("body", {}, "x")),
      );
      says(a, "another", "m5");
      await until(() => a.fates.length === 6, "all have their fate");
      assert.deepEqual(a.returned, ["m3 resource-constraint", "m4 resource-constraint"]);
      assert.deepEqual(a.s2s.journal?.refused, { all: 0, domain: 0, sender: 2, domains: 0 });
      assert.equal(a.s2s.journal?.waiting, 4);
    });

    it("is bounded by size as well", async () => {
      away();
      const a = await side({ config: { journal_max_size_per_sender: "1KiB" } });
      says(a, "user", "m0", "x".repeat(2_000));
      says(a, "user", "m1", "x".repeat(700));
      says(a, "user", "m2", "x".repeat(700));
      says(a, "another", "m3", "x".repeat(700));
      await until(() => a.fates.length === 4, "all have their fate");
      assert.deepEqual(a.returned, ["m0 resource-constraint", "m2 resource-constraint"]);
    });

    it("is counted over a restart, with other bounds too, and has room again for what has left", async () => {
      away();
      const a = await side();
      for (const id of numbered(5)) a.say(id, "x@b.test");
      says(a, "another", "m5");
      await stop(a);
      const next = await nextLife({ config: { journal_max_per_sender: 4 } });
      await backingOff(next);
      assert.equal(next.s2s.journal?.waiting, 6);
      next.say("m6", "x@b.test");
      says(next, "another", "m7");
      await until(() => next.fates.length === 2, "both have their fate");
      assert.deepEqual(next.returned, ["m6 resource-constraint"]);
      const desk = next.s2s.journalDesk;
      for (const { id, stanzaId } of (await desk?.list(2))?.items ?? []) {
        assert.ok(["m0", "m1"].includes(stanzaId ?? ""));
        await desk?.drop({ id }, false);
      }
      next.say("m8", "x@b.test");
      next.say("m9", "x@b.test");
      await until(() => next.fates.length === 6, "all have their fate");
      assert.deepEqual(next.returned, ["m6 resource-constraint", "m9 resource-constraint"]);
      const b = await peer();
      await advanceUntil(clock, () => next.s2s.journal?.waiting === 0, "it is empty");
      assert.deepEqual(ids(b), ["m2", "m3", "m4", "m5", "m7", "m8"]);
      next.say("m10", "x@b.test");
      await until(() => ids(b).includes("m10"), "it goes out");
    });

    it("has room again for what cannot be read", async () => {
      away();
      const a = await side({ config: { journal_max_per_sender: 2, retry_delay: "1s" } });
      for (const id of numbered(2)) a.say(id, "x@b.test");
      await until(() => a.counts.stored === 2, "both are on the disk");
      const [first] = await store.range(JOURNAL, []);
      await store.put(JOURNAL, first?.[0] ?? [], 7);
      await peer({ script: { ack: "ignore", closing: "ignore" } });
      await advanceUntil(clock, () => a.s2s.journal?.left.damaged === 1, "it is found");
      away();
      await advanceUntil(
        clock,
        () => a.s2s.links()[0]?.state === "backing-off",
        "the other one is back in the journal",
      );
      a.say("m2", "x@b.test");
      a.say("m3", "x@b.test");
      await until(() => a.returned.length === 1, "there is room for one");
      assert.deepEqual(a.returned, ["m3 resource-constraint"]);
    });

    it("leaves his presence ten times the room, so that he leaves no ghosts, and counts it apart", async () => {
      away();
      const a = await side({ config: { journal: "stop", journal_max_per_sender: 1 }, sendersPresent: false });
      for (const n of Array(12).keys()) goes(a, `r${n}`);
      a.say("m1", "x@b.test");
      await stop(a);
      assert.equal(await waiting(), 11);
      assert.equal(a.s2s.journal?.refused.sender, 2);
    });
  });

  it("counts what is taken and what leaves, by what became of it, and knows how long the oldest has waited", async () => {
    away();
    const a = await side({ config: { journal_lifetime: "2h" } });
    assert.equal(a.s2s.journal?.oldestMs, 0);
    const sum = (): number => Object.values(a.s2s.journal?.left ?? {}).reduce((one, other) => one + other, 0);
    for (const id of numbered(3)) a.say(id, "x@b.test");
    await until(() => a.counts.stored === 3, "all are on the disk");
    await clock.advance(HOUR);
    a.say("m3", "x@b.test");
    await until(() => a.counts.stored === 4, "one more");
    assert.equal(a.s2s.journal?.oldestMs, HOUR);
    const [first] = (await a.s2s.journalDesk?.list(1))?.items ?? [];
    await a.s2s.journalDesk?.drop({ id: first?.id ?? "" }, false);
    await advanceUntil(clock, () => a.told.length === 2, "two have waited too long", 2 * HOUR, 10_000);
    const b = await peer({ script: { ack: "ignore" } });
    await advanceUntil(clock, () => ids(b).includes("m3"), "the last one is on its way", HOUR, 1_000);
    assert.ok((a.s2s.journal?.oldestMs ?? 0) >= HOUR, "what has no proof waits still");
    b.when("ack", "ordinary");
    await advanceUntil(clock, () => a.s2s.journal?.waiting === 0, "it is empty", HOUR, 1_000);
    const { taken, left } = a.s2s.journal ?? {};
    assert.deepEqual(left, { proved: 1, returned: 2, dropped: 1, lost: 0, replaced: 0, damaged: 0, unwritten: 0 });
    assert.equal(taken, sum());
  });

  describe("records", () => {
    it("that are damaged are named and set aside, and the others are used", async () => {
      away();
      const a = await side();
      for (const id of numbered(4)) a.say(id, "x@b.test");
      await stop(a);
      const [first, second, third] = await store.range(JOURNAL, []);
      const [key = [], value] = first ?? [];
      await store.put(JOURNAL, key, { ...(value as object), xml: "<message from='evil@a.test' to='x@b.test'/>" });
      await store.put(JOURNAL, second?.[0] ?? [], "nonsense");
      await store.put(JOURNAL, third?.[0] ?? [], { ...(third?.[1] as object), v: 2 });
      await store.flushed();
      const errors: object[] = [];
      const b = await peer();
      const next = await nextLife({ log: logOf(errors) });
      await advanceUntil(clock, () => next.fates.length === 1, "the good one is proved");
      assert.deepEqual(ids(b), ["m3"]);
      assert.equal(errors.length, 3);
      await advanceUntil(clock, () => next.s2s.journal?.waiting === 0, "forgotten");
      await stop(next);
      assert.equal(await waiting(), 0);
      assert.equal((await store.range("s2s-journal-damaged", [])).length, 3);
    });

    it("that not even the store can read are passed over, named and set aside", async () => {
      away();
      const a = await side();
      for (const id of numbered(3)) a.say(id, "x@b.test");
      await stop(a);
      const [, second] = await store.range(JOURNAL, []);
      const broken = new TornStore(store, second?.[0] ?? []);
      const errors: object[] = [];
      const b = await peer();
      const next = await nextLife({ store: broken, log: logOf(errors) });
      await advanceUntil(clock, () => next.fates.length === 2, "the good ones are proved");
      assert.deepEqual(ids(b), ["m0", "m2"]);
      assert.equal(errors.length, 1);
    });

    it("that are damaged while the server runs are found as well", async () => {
      away();
      const a = await side();
      for (const id of numbered(2)) a.say(id, "x@b.test");
      await until(() => a.counts.stored === 2, "both are on the disk");
      const [first] = await store.range(JOURNAL, []);
      await store.put(JOURNAL, first?.[0] ?? [], 7);
      const b = await peer();
      await advanceUntil(clock, () => a.counts["proved/sm-ack"] === 1, "the good one is proved");
      assert.deepEqual(ids(b), ["m1"]);
      await advanceUntil(clock, () => a.s2s.journal?.waiting === 0, "forgotten");
    });

    it("tell who sent a stanza without being read as one", () => {
      const to = "x@b.test";
      const senders = [
        ["user@a.test/r", "user@a.test"],
        ["user@a.test", "user@a.test"],
        ["bücher@a.test/a > b @ \"c/d\" from='e@a.test'", "bücher@a.test"],
        ["a.test", undefined],
        ["a.test/of@nobody", undefined],
      ] as const;
      for (const [from, sender] of senders) {
        for (const id of ["m1", "a>b", ' from="evil@a.test" ', "\n from='evil@a.test'"]) {
          for (const attrs of [
            { from, to, id },
            { id, to, from },
            { type: "chat", id, from, to },
          ]) {
            const { text } = stanza("message", attrs, xml("x", { from: "within@a.test" }));
            const record = { remote: "b.test", local: "a.test", epoch: 1, seq: 1, at: 0, until: 1, xml: text };
            assert.equal(recordSender(record), sender, text);
            assert.equal(stanzaOf(record)?.from.bare.toString(), sender ?? "a.test");
          }
        }
      }
    });

    it("have numbers that go on growing, and names that no life shares with another", async () => {
      away();
      for (const id of numbered(2)) {
        const a = await side();
        a.say(id, "x@b.test");
        await stop(a);
      }
      const a = await side();
      const list = await a.s2s.journalDesk?.list(10);
      assert.deepEqual(
        list?.items.map(({ id, stanzaId }) => [id, stanzaId]),
        [
          ["1-1", "m0"],
          ["2-1", "m1"],
        ],
      );
    });
  });

  describe("before an acknowledgement", () => {
    it("writes each message down before it is taken over, and deletes it when it is proved", async () => {
      const b = await peer();
      const a = await side({ config: { journal_before_ack: true } });
      const taken = a.carry("m1", "x@b.test");
      assert.ok(taken instanceof Promise);
      await taken;
      assert.equal((await store.afterCrash().range(JOURNAL, [])).length, 1);
      await advanceUntil(clock, () => a.counts["proved/sm-ack"] === 1, "proved");
      assert.equal(delayOf(b.stanzas[0]), undefined);
      await advanceUntil(clock, () => a.s2s.journal?.waiting === 0, "forgotten");
      await stop(a);
      assert.equal(await waiting(), 0);
      assert.deepEqual(a.counts, { "proved/sm-ack": 1 });
    });

    it("has each message once, also when its stream breaks while the disk is busy with it", async () => {
      let isMute = true;
      const b = await peer({ script: { ack: () => (isMute ? "ignore" : "ordinary") } });
      const a = await side({ config: { journal_before_ack: true } });
      await a.carry("m0", "x@b.test");
      await until(() => b.stanzas.length === 1, "it arrived");
      let isSlow = true;
      let isWriting = false;
      store.hooks.beforeFlush = async () => {
        isWriting = true;
        while (isSlow) await clock.turn();
      };
      const carried = a.carry("m1", "x@b.test");
      await until(() => isWriting, "it is being written");
      await b.crash();
      await until(() => a.s2s.links()[0]?.state !== "open", "it is noticed");
      isSlow = false;
      await carried;
      assert.equal(a.s2s.journal?.waiting, 2);
      isMute = false;
      await stop(a);
      assert.equal(await waiting(), 2);
      await b.listen();
      const next = await nextLife();
      await advanceUntil(clock, () => next.s2s.journal?.waiting === 0, "all are proved");
      assert.deepEqual(ids(b), ["m0", "m0", "m1"]);
    });

    it("loses nothing in a crash that its sender has an acknowledgement of", async () => {
      const b = await peer({ script: { header: "ignore" } });
      const a = await side({ config: { journal_before_ack: true } });
      for (const id of numbered(3)) await a.carry(id, "x@b.test");
      store = store.afterCrash();
      a.s2s.destroy();
      b.when("header", "ordinary");
      const next = await nextLife();
      await advanceUntil(clock, () => next.counts["proved/sm-ack"] === 3, "proved");
      assert.deepEqual(ids(b), numbered(3));
    });
  });

  describe("for operators", () => {
    it("lists what waits without what people wrote, drops it with or without a word, and tries a domain at once", async () => {
      const b = await peer();
      await b.crash();
      const a = await side();
      for (const id of numbered(4)) a.say(id, "x@b.test");
      await until(() => a.counts.stored === 4, "all are on the disk");
      const desk = a.s2s.journalDesk;
      assert.ok(desk);
      const list = await desk.list(2, "b.test");
      assert.equal(list.more, true);
      assert.ok(!JSON.stringify(list).includes("hear"));
      assert.equal(list.items[0]?.what, "message chat");
      const id = list.items[1]?.id ?? "";
      assert.deepEqual(await desk.drop({ id }, true), { dropped: 1, told: 1, underWay: 0 });
      await until(() => a.told.length === 1, "told");
      assert.equal(a.told[0]?.id, "m1");
      await assert.rejects(desk.drop({ id }, true), { code: "MORENDO_JOURNAL_EMPTY" });
      assert.throws(() => desk.retry("c.test"), { code: "MORENDO_JOURNAL_EMPTY" });
      await b.listen();
      desk.retry("b.test");
      await until(() => b.stanzas.length === 3, "it came without any time going by");
      await b.crash();
      await until(() => a.s2s.links()[0]?.state !== "open", "it is noticed");
      a.say("m4", "x@b.test");
      await advanceUntil(clock, () => (a.s2s.journal?.domains["b.test"] ?? 0) >= 1, "it waits");
      await desk.drop({ domain: "b.test" }, false);
      assert.equal(a.told.length, 1);
    });

    describe("when they try a domain to which a connection is under way", () => {
      let b: ScriptedPeer;

      beforeEach(async () => {
        b = await peer();
        await b.refuse();
      });

      /** Starts a server with a message that waits for b.test, which refuses connections. */
      async function waitingFor(options?: Partial<SideOptions>): Promise<Side> {
        const a = await side(options);
        a.say("m1", "x@b.test");
        await until(() => a.counts.stored === 1, "it is on the disk");
        await backingOff(a);
        return a;
      }

      it("begin it anew when it goes nowhere", async () => {
        const tcp = new TcpNetwork({ clock, log: silentLog });
        let isBlackHole = false;
        let dials = 0;
        const network: Network = {
          listen: (options, onConnection) => tcp.listen(options, onConnection),
          dial: (options) => {
            dials++;
            if (!isBlackHole) return tcp.dial(options);
            return new Promise((_resolve, reject) => {
              options.signal?.addEventListener("abort", () => reject(new Error("given up")));
            });
          },
        };
        const a = await waitingFor({ network });
        isBlackHole = true;
        const before = dials;
        await advanceUntil(clock, () => dials > before, "it is dialled again");
        const desk = a.s2s.journalDesk;
        desk?.retry("b.test");
        assert.equal(dials, before + 1, "an attempt that has just begun is as good as a new one");
        await clock.advance(5_000);
        assert.equal(a.s2s.links()[0]?.state, "dialling");
        isBlackHole = false;
        await b.listen();
        const now = clock.now();
        desk?.retry("b.test");
        await until(() => b.stanzas.length === 1, "it came without any time going by");
        assert.equal(clock.now(), now);
      });

      it("wait for the peer that is there, and dial anew at once if it fails", async () => {
        const a = await waitingFor();
        b.when("header", "ignore");
        await b.listen();
        await advanceUntil(clock, () => a.s2s.links()[0]?.state === "negotiating", "there is a connection");
        await until(() => b.connections.length === 1, "the peer knows it");
        await clock.advance(5_000);
        const now = clock.now();
        a.s2s.journalDesk?.retry("b.test");
        assert.equal(a.s2s.links()[0]?.state, "negotiating");
        b.when("header", "ordinary");
        b.connections[0]?.reset();
        await until(() => b.stanzas.length === 1, "it came without any time going by");
        assert.equal(clock.now(), now);
        assert.equal(b.connections.length, 2);
      });
    });
  });
});

/** A store in which one record of the journal is torn. */
class TornStore extends MemoryStore {
  #store: MemoryStore;
  #torn: string;

  constructor(store: MemoryStore, torn: Key) {
    super();
    this.#store = store;
    this.#torn = JSON.stringify(torn);
  }

  override get(collection: string, key: Key): Promise<Value | undefined> {
    return this.#store.get(collection, key);
  }

  override batch(writes: readonly Write[]): Promise<void> {
    if (writes.some(({ op, key }) => op === "delete" && JSON.stringify(key) === this.#torn)) this.#torn = "";
    return this.#store.batch(writes);
  }

  override async range(
    collection: string,
    prefix: Key,
    limit?: number,
    after?: Key,
  ): Promise<readonly (readonly [Key, Value])[]> {
    const entries = await this.#store.range(collection, prefix, limit, after);
    for (const [key] of entries) {
      if (JSON.stringify(key) === this.#torn) throw new CorruptRecordError(key, {});
    }
    return entries;
  }
}

function logOf(errors: object[]): Logger {
  const log: Logger = {
    debug: () => undefined,
    info: () => undefined,
    warn: () => undefined,
    error: (fields: object) => void errors.push(fields),
    child: () => log,
  };
  return log;
}
