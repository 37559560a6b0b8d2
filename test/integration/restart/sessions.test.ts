// What becomes of sessions and stanzas when the server is replaced: those of clients with and without stream management, with
// stanzas on every part of their way, also in the moment in which nobody serves, which a module of the tests makes long.
// Not for: load (test/interop/restart.test.ts), failures, client libraries.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { DrainReport } from "../../../src/shutdown/report.ts";
import { attributeOf } from "../../../src/testing/raw-client.ts";
import { ScriptedPeer } from "../../../src/testing/scripted-peer.ts";
import { withResolvers } from "../../../src/util/with-resolvers.ts";
import { PORTS } from "../../support/addresses.ts";
import { ask, ended, restarted, statusOf } from "../../support/control.ts";
import { Generations } from "../../support/generations.ts";
import { runnable } from "../../support/program.ts";
import { SmClient } from "../../support/sm-client.ts";

const SLOW = runnable(new URL("../../support/test-modules/slow-handover/index.ts", import.meta.url));
const both = (...jids: readonly string[]) => jids.map((jid) => ({ jid, subscription: "both" }));
const ACCOUNTS = [
  { jid: "romeo@a.test", roster: both("juliet@a.test", "nurse@peer.test") },
  { jid: "juliet@a.test", roster: both("romeo@a.test", "mercutio@a.test") },
  { jid: "mercutio@a.test", roster: both("juliet@a.test") },
];

const presenceIn = (received: readonly { readonly xml: string }[]): string[] =>
  received.flatMap(({ xml }) => (xml.startsWith("<presence") ? [xml] : []));

describe("when the server is replaced", function () {
  this.timeout(120_000);
  let generations: Generations;
  let peer: ScriptedPeer | undefined;
  afterEach(async () => {
    await generations.end();
    await peer?.stop();
    peer = undefined;
  });

  async function start({ extra = "", c2s = "", s2s = "", frozenMs = 0, withPeer = false } = {}): Promise<Generations> {
    if (withPeer) peer = await ScriptedPeer.start({ domain: "peer.test", certificates: "self-signed" });
    const slow = frozenMs === 0 ? "" : `[module.slow-handover]\nsave_ms = ${frozenMs}\n`;
    const routes = peer === undefined ? "" : `[s2s.routes]\n"peer.test" = "${peer.address}"\n`;
    generations = await Generations.start({
      accounts: ACCOUNTS,
      settings: {
        c2s,
        s2s,
        extra: `${slow}${routes}${extra}`,
        ...(frozenMs === 0 ? {} : { modules: [SLOW] }),
      },
    });
    for (const host of ["a.test", "b.test"]) peer?.routes.set(host, `${generations.address}:${PORTS.s2s}`);
    return generations;
  }

  /** Restarts, and does something in the moment in which nobody serves. */
  async function restartedWhile(work: () => Promise<void> | void): Promise<void> {
    let working: Promise<void> | undefined;
    await restarted(generations.folder, (step) => {
      if (step !== "freeze") return;
      working = (async () => {
        // Until everything stands still.
        await sleep(150);
        await work();
      })();
    });
    assert.ok(working !== undefined);
    await working;
  }

  it("what comes while nobody serves arrives once, whoever it is from", async () => {
    await start({ frozenMs: 1_000, withPeer: true });
    const romeo = await SmClient.start(generations, "romeo", "balcony");
    const juliet = await SmClient.start(generations, "juliet", "chamber");
    const mercutio = generations.client({ username: "mercutio", resource: "street" });
    await mercutio.login();
    await romeo.available();
    await juliet.available();
    mercutio.presence();
    await juliet.raw.waitFor((xml) => xml.startsWith("<presence") && xml.includes("mercutio"));
    await romeo.raw.waitFor((xml) => xml.startsWith("<presence") && xml.includes("juliet"));
    // A resource of hers that cannot resume.
    const phone = generations.client({ username: "juliet", resource: "phone" });
    await phone.login();
    phone.presence("<presence><priority>-1</priority></presence>");
    for (const { raw } of [romeo, juliet]) await raw.waitFor((xml) => xml.includes("juliet@a.test/phone"));
    peer?.send("<message from='nurse@peer.test' to='romeo@a.test' type='chat'><body>warm</body></message>");
    await romeo.got("warm");
    // Has waited for a while for a client that comes back right now.
    juliet.raw.destroy();
    const late = generations.client({ username: "juliet" });
    await late.connect();
    await late.authenticate();
    const marks = { romeo: romeo.raw.received.length, arrived: peer?.arrived.length ?? 0 };
    await restartedWhile(async () => {
      romeo.message("juliet@a.test", "from the frozen");
      mercutio.send("<message to='romeo@a.test/balcony' type='chat'><body>from the plain</body></message>");
      peer?.send("<message from='nurse@peer.test' to='romeo@a.test/balcony' type='chat'><body>far</body></message>");
      peer?.send("<message from='nurse@peer.test' to='romeo@a.test' type='chat'><body>farther</body></message>");
      late.send(`<resume xmlns='urn:xmpp:sm:3' previd='${juliet.id}' h='${juliet.handled}'/>`);
      await sleep(200);
    });
    const [gone, told, refused] = await Promise.all([romeo.raw.ended, mercutio.ended, late.ended]);
    assert.deepEqual([gone.streamError, gone.closingTag, gone.how], [undefined, false, "fin"]);
    assert.deepEqual([told.streamError, told.closingTag, told.how], ["system-shutdown", true, "fin"]);
    assert.deepEqual([refused.streamError, refused.closingTag], ["system-shutdown", true]);
    assert.ok(!late.received.some(({ xml }) => xml.startsWith("<failed")), "nobody says that the session is lost");

    const again = await SmClient.resume(generations, romeo.identity);
    assert.equal(again.resumed(), 1, "what was not read is not counted");
    again.message("juliet@a.test", "from the frozen");
    for (const body of ["from the plain", "far", "farther"]) await again.got(body);
    const back = await SmClient.resume(generations, juliet.identity);
    back.resumed();
    await back.got("from the frozen");
    await again.raw.waitFor((xml) => xml.startsWith("<presence"));
    await back.raw.waitFor((xml) => xml.startsWith("<presence") && xml.includes("mercutio"));
    await sleep(300);
    assert.deepEqual(again.bodies.sort(), ["far", "farther", "from the plain"]);
    assert.deepEqual(back.bodies, ["from the frozen"]);
    const goodbyes = (client: SmClient): string[] =>
      presenceIn(client.raw.received)
        .map((xml) => `${attributeOf(xml, "type")} ${attributeOf(xml, "from")}`)
        .sort();
    assert.deepEqual(presenceIn(romeo.raw.received.slice(marks.romeo)), []);
    // Of those who cannot resume.
    assert.deepEqual(goodbyes(again), ["unavailable juliet@a.test/phone"]);
    assert.deepEqual(goodbyes(back), ["unavailable juliet@a.test/phone", "unavailable mercutio@a.test/street"]);
    assert.deepEqual(
      presenceIn((peer?.arrived ?? []).slice(marks.arrived).map(({ element }) => ({ xml: element.toString() }))),
      [],
    );
    await mercutioComesBack();
  });

  async function mercutioComesBack(): Promise<void> {
    const back = generations.client({ username: "mercutio", resource: "street" });
    await back.login();
    await back.close();
  }

  it("a session goes on with its roster pushes, and says its goodbyes at the end", async () => {
    await start({ withPeer: true });
    let romeo = await SmClient.start(generations, "romeo", "balcony");
    await romeo.available();
    await romeo.raw.iq("get", "<query xmlns='jabber:iq:roster'/>");
    romeo.raw.send("<presence to='stranger@peer.test/x'/>");
    await peer?.until(({ arrived }) => arrived.some(({ element }) => element.attrs.to === "stranger@peer.test/x"));
    const juliet = await SmClient.start(generations, "juliet", "chamber");
    await juliet.available();
    for (let round = 0; round < 2; round++) {
      await restarted(generations.folder);
      await romeo.raw.ended;
      romeo = await SmClient.resume(generations, romeo.identity);
      romeo.resumed();
    }
    const other = await SmClient.start(generations, "romeo", "orchard");
    await other.raw.iq("set", "<query xmlns='jabber:iq:roster'><item jid='paris@a.test'/></query>");
    await romeo.raw.waitFor((xml) => xml.startsWith("<iq") && xml.includes("paris@a.test"));
    const mark = peer?.arrived.length ?? 0;
    await romeo.raw.close();
    await peer?.until(({ arrived }) => arrived.length >= mark + 2);
    await sleep(200);
    const goodbyes = (peer?.arrived ?? []).slice(mark).map(({ element: { attrs } }) => `${attrs.type} ${attrs.to}`);
    assert.deepEqual(goodbyes.sort(), ["unavailable nurse@peer.test", "unavailable stranger@peer.test/x"]);
    const back = await SmClient.resume(generations, juliet.identity);
    back.resumed();
    const seen = presenceIn([...juliet.raw.received, ...back.raw.received]).filter((xml) =>
      /type=.unavailable/.test(xml),
    );
    assert.equal(seen.length, 1);
  });

  it("a client that does not come back is unavailable once, and what waited for it is kept with its time", async () => {
    await start();
    const juliet = await SmClient.start(generations, "juliet", "chamber");
    await juliet.available();
    const romeo = await SmClient.start(generations, "romeo", "balcony", { enable: "resume='true' max='3'" });
    await romeo.available();
    await juliet.raw.waitFor((xml) => xml.startsWith("<presence") && xml.includes("romeo"));
    romeo.answers = false;
    juliet.message("romeo@a.test/balcony", "unread");
    await romeo.got("unread");
    await restarted(generations.folder);
    await juliet.raw.ended;
    const back = await SmClient.resume(generations, juliet.identity);
    back.resumed();
    back.message("romeo@a.test/balcony", "while away");
    await back.raw.waitFor((xml) => xml.startsWith("<presence") && xml.includes("unavailable"));
    const again = await SmClient.start(generations, "romeo", "orchard");
    await again.available();
    const kept = [await again.got("unread"), await again.got("while away")];
    for (const xml of kept) assert.match(xml, /<delay [^>]*urn:xmpp:delay/);
    assert.deepEqual(again.bodies, ["unread", "while away"]);
    const seen = presenceIn(back.raw.received).filter((xml) => /type=.unavailable/.test(xml));
    assert.equal(seen.length, 1);
  });

  it("a client that does not read holds up no restart", async () => {
    await start();
    const deaf = generations.client({ username: "romeo", resource: "deaf" });
    await deaf.login();
    deaf.presence("<presence><priority>-1</priority></presence>");
    deaf.stopReading();
    const sleeper = await SmClient.start(generations, "romeo", "sleeper");
    sleeper.answers = false;
    sleeper.raw.stopReading();
    const talkers = [
      await SmClient.start(generations, "juliet", "a"),
      await SmClient.start(generations, "juliet", "b"),
    ];
    const content = "x".repeat(10_000);
    for (let number = 0; number < 3_000; number++) {
      for (const [index, to] of ["deaf", "sleeper"].entries()) {
        talkers[index]?.raw.send(`<message to='romeo@a.test/${to}'><body>${content}</body></message>`);
      }
    }
    // Until the server reads no more from those who send.
    for (let last = -1; last !== talkers[0]?.raw.unsent; ) {
      last = talkers[0]?.raw.unsent ?? 0;
      await sleep(500);
    }
    assert.ok(
      talkers.every(({ raw }) => raw.unsent > 0),
      "both wait",
    );
    const { frozenMs } = await restarted(generations.folder);
    assert.ok(frozenMs < 2_000, `nobody served for ${frozenMs} ms`);
    for (const talker of talkers) {
      talker.raw.destroy();
      (await SmClient.resume(generations, talker.identity)).resumed();
    }
  });

  it("what reaches the first of three processes gets to the third", async () => {
    // So much that the first is still there when the third serves, however slow the machine is.
    const patient = '[shutdown]\ndeadline = "3m"\n[shutdown.drain_s2s]\nceiling = "2m"\n';
    await start({ withPeer: true, extra: patient, s2s: 'ack_timeout = "2m"' });
    const romeo = await SmClient.start(generations, "romeo", "balcony");
    await romeo.available();
    peer?.send("<message from='nurse@peer.test' to='romeo@a.test' type='chat'><body>warm</body></message>");
    await romeo.got("warm");
    // The first one cannot go while it is not known to have this delivered.
    peer?.when("ack", "ignore");
    peer?.when("pong", "ignore");
    romeo.message("nurse@peer.test", "unproved");
    await peer?.until(({ stanzas }) => stanzas.some((stanza) => stanza.getChildText("body") === "unproved"));
    const { predecessor } = await restarted(generations.folder);
    const { predecessor: second, pid } = await restarted(generations.folder);
    await sleep(500);
    assert.ok(generations.pids.includes(predecessor), "the first one is still there");
    const back = await SmClient.resume(generations, romeo.identity);
    back.resumed();
    const connections = peer?.connections.length;
    peer?.send("<message from='nurse@peer.test' to='romeo@a.test/balcony' type='chat'><body>long way</body></message>");
    assert.doesNotMatch(await back.got("long way"), /delay/);
    assert.equal(peer?.connections.length, connections, "it went over the old stream");
    peer?.when("ack", "ordinary");
    peer?.when("pong", "ordinary");
    peer?.close();
    for (const each of [predecessor, second]) assert.equal(await ended(each), "by itself");
    assert.equal((await statusOf(generations.folder)).pid, pid);
  });

  it("what went to a server that answers to the successor is proved all the same", async () => {
    await start({ withPeer: true });
    if (peer !== undefined) peer.abilities.sm = false;
    const romeo = await SmClient.start(generations, "romeo", "balcony");
    romeo.message("nurse@peer.test", "cold");
    await peer?.until(({ stanzas }) => stanzas.some((stanza) => stanza.getChildText("body") === "cold"));
    const { predecessor } = await restarted(generations.folder);
    assert.equal(await ended(predecessor), "by itself");
    const report = JSON.parse(readFileSync(generations.path("data/last-drain.json"), "utf8")) as DrainReport;
    const { run, running } = report.obligations;
    assert.deepEqual([report.exitCode, run.proved + running.proved, run.lost], [0, 1, 0]);
  });

  it("offline messages that are being handed over arrive once and in order", async () => {
    await start({ c2s: "sm_max_queue = 60" });
    const juliet = await SmClient.start(generations, "juliet", "chamber");
    const bodies = Array.from({ length: 50 }, (_, index) => String(index));
    for (const body of bodies) juliet.message("romeo@a.test", body);
    assert.equal(await juliet.carried(), bodies.length);
    const romeo = await SmClient.start(generations, "romeo", "balcony");
    romeo.answers = false;
    romeo.raw.presence();
    // Half the queue is full: the others wait.
    await romeo.got("29");
    await restarted(generations.folder);
    await romeo.raw.ended;
    const back = await SmClient.resume(generations, romeo.identity);
    back.resumed();
    // What the old connection had taken is not sent again.
    for (let left = 100; left > 0 && romeo.bodies.length + back.bodies.length < bodies.length; left--) await sleep(50);
    await sleep(200);
    assert.deepEqual([...romeo.bodies, ...back.bodies], bodies);
    back.message("juliet@a.test/chamber", "done");
    await (await SmClient.resume(generations, juliet.identity)).got("done");
    const other = await SmClient.start(generations, "romeo", "orchard");
    await back.raw.close();
    await other.available();
    assert.deepEqual(other.bodies, [], "nothing is left");
  });

  it("restarts one at a time; not while it stops; a stop calls a restart off", async () => {
    await start({ frozenMs: 700 });
    const romeo = await SmClient.start(generations, "romeo", "balcony");
    const underWay = withResolvers();
    const first = restarted(generations.folder, () => underWay.resolve());
    await Promise.race([underWay.promise, first]);
    const refused = (await ask(generations.folder, "restart")) as { readonly restarted: boolean; readonly why: string };
    assert.equal(refused.restarted, false);
    assert.match(refused.why, /a restart is under way for/);
    const { pid } = await first;
    const back = await SmClient.resume(generations, romeo.identity);
    back.resumed();
    await generations.alone(pid);
    let stopping: Promise<unknown> | undefined;
    const calledOff = (await ask(generations.folder, "restart", {}, (step) => {
      if (step === "freeze") stopping = ask(generations.folder, "stop");
    })) as { readonly restarted: boolean; readonly why: string };
    assert.equal(calledOff.restarted, false);
    assert.match(calledOff.why, /called off: the server is stopping/);
    await stopping;
    assert.equal(await ended(pid), "by itself");
    // What was to be the successor is gone soon.
    await generations.alone();
  });

  it("SIGUSR2 does the same", async () => {
    await start();
    const romeo = await SmClient.start(generations, "romeo", "balcony");
    generations.process.signal("SIGUSR2");
    const before = generations.process.pid;
    const status = await generations.until((status) => status?.state === "running" && status.pid !== before);
    assert.equal(status?.hibernating, 1);
    (await SmClient.resume(generations, romeo.identity)).resumed();
    const { code } = await generations.process.exited;
    assert.equal(code, 0);
    assert.match(generations.process.log, /restart \(SIGUSR2: .*\): clean, exit code 0/);
    assert.equal((await statusOf(generations.folder)).hibernating, 0);
  });
});
