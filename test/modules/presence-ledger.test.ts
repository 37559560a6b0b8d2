import assert from "node:assert/strict";
import type { RosterItem } from "../../src/module.ts";
import { MemoryStore } from "../../src/store/memory.ts";
import { jidOf, ModuleHost } from "../../src/testing/module-host.ts";

const COLLECTION = "module:presence";
const CONTACTS: readonly (Partial<RosterItem> & { jid: string })[] = [
  { jid: "to@b.test", subscription: "to" },
  { jid: "from@b.test", subscription: "from" },
  { jid: "both@c.test", subscription: "both" },
];

/** A server in one of its lives, with romeo's roster. */
async function life(store = new MemoryStore(), options = {}): Promise<ModuleHost> {
  const host = new ModuleHost({ store });
  host.state = "starting";
  await host.load(["roster", "presence"], { presence: options });
  host.accounts.add("romeo@a.test");
  return host;
}

/** The start of that life is over. */
function start(host: ModuleHost): void {
  host.notifications.notify("server-started", undefined);
  host.notifications.notify("server-alone", undefined);
  host.state = "running";
}

async function started(store = new MemoryStore(), options = {}): Promise<ModuleHost> {
  const host = await life(store, options);
  start(host);
  return host;
}

async function withRoster(host: ModuleHost, items = CONTACTS): Promise<ModuleHost> {
  const whole = items.map((item) => ({ groups: [], subscription: "none" as const, ...item }));
  await host.rosters.importItems(jidOf("romeo@a.test"), whole);
  return host;
}

/** The ledger on the disk: who is believed to be available, and by whom if that is one address. */
async function ledger(store: MemoryStore): Promise<string[]> {
  const entries = await store.range(COLLECTION, ["told"]);
  return entries.map(([, value]) => (value as string[]).join(" to ")).sort();
}

async function goOn(host: ModuleHost, ms = 200): Promise<void> {
  await host.clock.advance(ms);
}

/** What went to other domains since the last call, sorted. */
function sent(host: ModuleHost): string[] {
  return host.remote
    .splice(0)
    .map(({ type, from, to }) => `${type} ${from.toString()} ${to?.toString()}`)
    .sort();
}

const TO_ROSTER = ["unavailable romeo@a.test/x both@c.test", "unavailable romeo@a.test/x from@b.test"];

describe("the presence ledger", () => {
  it("has a record of each available session and of each directed presence, until everybody knows of the end", async () => {
    const host = await withRoster(await started());
    const session = await host.available("romeo@a.test/x");
    await host.send(session, '<presence to="room@rooms.test/romeo"/>');
    await goOn(host);
    assert.deepEqual(await ledger(host.store), ["romeo@a.test/x", "romeo@a.test/x to room@rooms.test/romeo"]);

    host.proves = false;
    host.remote.length = 0;
    await host.end(session);
    await goOn(host);
    const owed = host.remote.splice(0);
    assert.equal(owed.length, 3);
    assert.equal((await ledger(host.store)).length, 2);
    for (const stanza of owed) host.decide(stanza, stanza.to?.domain === "c.test" ? "stored" : "proved");
    await goOn(host);
    assert.deepEqual(await ledger(host.store), []);
  });

  it("keeps the record of a goodbye that was lost, and forgets it when the user is back and says goodbye again", async () => {
    const host = await withRoster(await started());
    const session = await host.available("romeo@a.test/x");
    host.proves = false;
    host.remote.length = 0;
    await host.end(session);
    for (const stanza of host.remote.splice(0)) host.decide(stanza, "lost");
    await goOn(host);
    assert.deepEqual(await ledger(host.store), ["romeo@a.test/x"]);
    host.proves = true;
    const again = await host.available("romeo@a.test/x");
    await host.end(again);
    await goOn(host);
    assert.deepEqual(await ledger(host.store), []);
  });

  it("remembers a contact that may not see the user any more until it knows", async () => {
    const host = await withRoster(await started());
    const session = await host.available("romeo@a.test/x");
    host.proves = false;
    await host.send(session, '<presence type="unsubscribed" to="from@b.test"/>');
    await goOn(host);
    assert.deepEqual(await ledger(host.store), ["romeo@a.test/x", "romeo@a.test/x to from@b.test"]);
    for (const stanza of host.remote) host.decide(stanza, "proved");
    await goOn(host);
    assert.deepEqual(await ledger(host.store), ["romeo@a.test/x"]);
  });

  it("costs nothing for a session that comes and goes within a batch", async () => {
    const host = await withRoster(await started());
    await goOn(host);
    let writes = 0;
    host.store.hooks.beforeWrite = (batch) => {
      writes += batch.length;
    };
    const session = await host.available("romeo@a.test/x");
    for (const show of ["away", "xa", "dnd"]) await host.send(session, `<presence><show>${show}</show></presence>`);
    await host.end(session);
    await goOn(host);
    assert.equal(writes, 0);
  });

  it("writes many changes in few batches, and none for presence that only changes", async () => {
    const host = await started();
    const batches: number[] = [];
    host.store.hooks.beforeWrite = (batch) => void batches.push(batch.length);
    const sessions = await Promise.all(
      Array.from({ length: 500 }, (_, index) => host.available(`user${index}@a.test/x`)),
    );
    await goOn(host);
    assert.deepEqual(batches, [501]);
    for (const session of sessions) await host.send(session, "<presence><show>away</show></presence>");
    await goOn(host);
    assert.equal(batches.length, 1);
  });

  it("goes on when the disk has failed, and catches up", async () => {
    const host = await started();
    host.store.hooks.beforeWrite = () => {
      throw new Error("no space");
    };
    await host.available("romeo@a.test/x");
    await goOn(host);
    assert.equal(host.logged.filter(({ message }) => message.includes("ledger cannot be written")).length, 1);
    host.store.hooks.beforeWrite = undefined;
    await goOn(host, 6_000);
    assert.deepEqual(await ledger(host.store), ["romeo@a.test/x"]);
  });

  it("is bounded, and says so once", async () => {
    const host = await started(undefined, { ledger_max: 2 });
    for (const name of ["a", "b", "c", "d"]) await host.available(`${name}@a.test/x`);
    await goOn(host);
    assert.deepEqual(await ledger(host.store), ["a@a.test/x", "b@a.test/x"]);
    assert.equal(host.logged.filter(({ message }) => message.includes("ledger is full")).length, 1);
  });
});

describe("after a crash", () => {
  /** What a server leaves behind that was killed with romeo available, and in a room. */
  async function crashed(items = CONTACTS): Promise<MemoryStore> {
    const host = await withRoster(await started(), items);
    const session = await host.available("romeo@a.test/x");
    await host.send(session, '<presence to="room@rooms.test/romeo"/>');
    await goOn(host);
    return host.store;
  }

  it("whoever was told is told that the session is gone, once, after the time to be back", async () => {
    const store = await crashed();
    const host = await started(store);
    await goOn(host, 9_000);
    assert.deepEqual(sent(host), []);
    await goOn(host, 2_000);
    assert.deepEqual(sent(host), [...TO_ROSTER, "unavailable romeo@a.test/x room@rooms.test/romeo"].sort());
    await goOn(host);
    assert.deepEqual(await ledger(store), []);
    const next = await started(store);
    await goOn(next, 60_000);
    assert.deepEqual(sent(next), []);
    assert.deepEqual(
      (await store.range(COLLECTION, ["life"])).map(([key]) => key),
      [],
    );
  });

  it("a user who is back with the same address is not said to be gone, but leaves the room", async () => {
    const host = await started(await crashed());
    await host.available("romeo@a.test/x");
    sent(host);
    await goOn(host, 11_000);
    assert.deepEqual(sent(host), ["unavailable romeo@a.test/x room@rooms.test/romeo"]);
    await goOn(host);
    assert.deepEqual(await ledger(host.store), ["romeo@a.test/x"]);
  });

  it("a user who is back, also in the room, is left alone", async () => {
    const host = await started(await crashed());
    const session = await host.available("romeo@a.test/x");
    await host.send(session, '<presence to="room@rooms.test/romeo"/>');
    sent(host);
    await goOn(host, 11_000);
    assert.deepEqual(sent(host), []);
  });

  it("a contact's device that had directed presence as well is not told that a user who is back is gone", async () => {
    const first = await withRoster(await started());
    const session = await first.available("romeo@a.test/x");
    await first.send(session, '<presence to="both@c.test/phone"/>');
    await goOn(first);
    const host = await started(first.store);
    await host.available("romeo@a.test/x");
    sent(host);
    await goOn(host, 11_000);
    assert.deepEqual(sent(host), []);
  });

  it("a user who was back and has left again is not said to be gone twice", async () => {
    const host = await started(await crashed());
    const session = await host.available("romeo@a.test/x");
    await host.end(session);
    assert.deepEqual(
      sent(host).filter((text) => text.startsWith("unavailable")),
      TO_ROSTER,
    );
    await goOn(host, 11_000);
    assert.deepEqual(sent(host), ["unavailable romeo@a.test/x room@rooms.test/romeo"]);
  });

  it("another one before the goodbyes are proved says them again", async () => {
    const store = await crashed();
    const host = await started(store);
    host.proves = false;
    await goOn(host, 11_000);
    const owed = host.remote.splice(0);
    assert.equal(owed.length, 3);
    for (const stanza of owed) if (stanza.to?.local === "room") host.decide(stanza, "proved");
    await goOn(host);
    const next = await started(store);
    await goOn(next, 11_000);
    assert.deepEqual(sent(next), TO_ROSTER);
  });

  it("a damaged record is named and set aside, and the rest is used", async () => {
    const store = await crashed();
    const [[key] = assert.fail("there is no record")] = await store.range(COLLECTION, ["told"]);
    await store.put(COLLECTION, [...key.slice(0, 2), 90], ["no address@", 5]);
    await store.put(COLLECTION, [...key.slice(0, 2), 91], "x");
    await store.put(COLLECTION, [...key.slice(0, 2), 92], ["romeo@a.test/x", "@"]);
    const host = await started(store);
    await goOn(host, 11_000);
    assert.equal(sent(host).length, 3);
    await goOn(host);
    assert.deepEqual(await ledger(store), []);
    assert.equal((await store.range(COLLECTION, ["damaged"])).length, 3);
    assert.equal(host.logged.filter(({ message }) => message.includes("is damaged")).length, 3);
  });

  it("the goodbye to a room is said although the account was removed meanwhile", async () => {
    const store = await crashed();
    const host = await started(store);
    host.accounts.delete("romeo@a.test");
    await host.rosters.removeAll(jidOf("romeo@a.test"));
    await goOn(host, 11_000);
    assert.deepEqual(sent(host), ["unavailable romeo@a.test/x room@rooms.test/romeo"]);
  });

  it("a stop within the time to be back says the goodbyes", async () => {
    const host = await started(await crashed());
    const phase = host.participants.find(({ phase }) => phase === "close-sessions");
    await phase?.participant.run({
      cause: "stop",
      remaining: () => 1_000,
      signal: new AbortController().signal,
    } as never);
    assert.equal(sent(host).length, 3);
  });
});

describe("a session that goes on", () => {
  it("in the next life keeps its record, and nobody is told anything", async () => {
    const first = await withRoster(await started());
    const session = await first.available("romeo@a.test/x");
    await first.send(session, '<presence to="room@rooms.test/romeo"/>');
    await goOn(first);
    const states = await first.handOver([session]);
    await first.loader.unloadAll(() => 1_000);
    assert.equal((await ledger(first.store)).length, 2);

    const host = await life(first.store);
    const kept = host.bind("romeo@a.test/x");
    kept.setPresence(session.presence);
    await host.takeOver(states);
    start(host);
    await goOn(host, 11_000);
    assert.deepEqual(sent(host), []);
    assert.deepEqual(await ledger(host.store), ["romeo@a.test/x", "romeo@a.test/x to room@rooms.test/romeo"]);
    await host.end(kept);
    assert.equal(sent(host).length, 3);
    await goOn(host);
    assert.deepEqual(await ledger(host.store), []);
  });

  it("in a successor is not written of there before the successor serves, and what the predecessor left unsaid is said when it has gone", async () => {
    const first = await withRoster(await started());
    const session = await first.available("romeo@a.test/x");
    const other = await first.available("romeo@a.test/y");
    await goOn(first);
    const states = await first.handOver([session]);

    const host = await life(first.store);
    const kept = host.bind("romeo@a.test/x");
    kept.setPresence(session.presence);
    await host.takeOver(states);
    await goOn(host, 1_000);
    assert.equal((await first.store.range(COLLECTION, ["life"])).length, 1);
    host.notifications.notify("server-started", undefined);
    host.state = "running";
    await goOn(host, 30_000);
    assert.deepEqual(sent(host), []);
    assert.equal(other.open, true);
    // The predecessor is killed before it has ended the other session.
    host.notifications.notify("server-alone", undefined);
    await goOn(host, 11_000);
    assert.deepEqual(sent(host), ["unavailable romeo@a.test/y both@c.test", "unavailable romeo@a.test/y from@b.test"]);
    assert.deepEqual(await ledger(host.store), ["romeo@a.test/x"]);
  });

  it("while the module is loaded anew stays in its rooms", async () => {
    const host = await withRoster(await started());
    const session = await host.available("romeo@a.test/x");
    await host.send(session, '<presence to="room@rooms.test/romeo"/>');
    await goOn(host);
    await host.loader.unload("roster").catch(() => undefined);
    await host.loader.unload("presence");
    sent(host);
    await host.load(["presence"]);
    await goOn(host, 11_000);
    assert.deepEqual(sent(host), []);
    assert.equal((await ledger(host.store)).length, 2);
    await host.end(session);
    assert.equal(sent(host).length, 3);
  });
});
