// The module that announces a stop, by itself: when it tells whom what, and the schedule. On the wire:
// test/integration/modules/announce.test.ts.

import assert from "node:assert/strict";
import { inWords, repeats } from "../../modules/announce/schedule.ts";
import type { PhaseContext, PhaseName } from "../../src/module.ts";
import { ModuleHost, type RecordedSession } from "../../src/testing/module-host.ts";

const MINUTE = 60_000;

interface Delay {
  readonly done: Promise<void>;
  /** What it is now; a test changes it as another request would. */
  announcement: string | undefined;
  deadline: number;
  readonly over: AbortController;
}

async function hostWith(options: Readonly<Record<string, unknown>> = {}): Promise<ModuleHost> {
  const host = new ModuleHost();
  // The presence module keeps its ledger from the end of the start on, with timers of its own.
  host.state = "starting";
  return await host.load(["presence", "announce"], { announce: options });
}

function participantOf({ participants }: ModuleHost) {
  const [entry] = participants;
  assert.ok(entry !== undefined && participants.length === 1 && entry.phase === "announce");
  return entry.participant;
}

/** Begins the delay as the pipeline does. */
function begin(host: ModuleHost, ms: number, announcement: string | null = "Moving house"): Delay {
  const over = new AbortController();
  const { clock } = host;
  const delay = { announcement: announcement ?? undefined, deadline: clock.now() + ms, over };
  const context: PhaseContext<PhaseName> = {
    phase: "announce",
    cause: "stop",
    reason: "a truck",
    get announcement() {
      return delay.announcement;
    },
    signal: over.signal,
    get deadline() {
      return delay.deadline;
    },
    remaining: () => (over.signal.aborted ? 0 : delay.deadline - clock.now()),
    lease: (name) => ({ name, release: () => undefined }),
    progress: () => undefined,
  };
  return Object.assign(delay, { done: Promise.resolve(participantOf(host).run(context)) });
}

/** Ends the delay as the pipeline does, and checks that nothing of it is left. */
async function end(host: ModuleHost, delay: Delay): Promise<void> {
  delay.over.abort();
  await host.settle();
  await delay.done;
  assert.equal(host.clock.pendingTimers, 0);
}

const bodies = (session: RecordedSession): (string | null)[] =>
  session.received
    .splice(0)
    .filter(({ kind }) => kind === "message")
    .map(({ element }) => element.getChildText("body"));

describe("announce", () => {
  it("tells each available resource at the beginning and again as the end comes near", async () => {
    const host = await hostWith();
    const phone = await host.available("romeo@a.test/phone");
    const desk = await host.available("romeo@a.test/desk", "<presence><priority>-1</priority></presence>");
    const silent = host.bind("juliet@a.test/silent");
    const delay = begin(host, 20 * MINUTE);
    await host.settle();
    const [first] = desk.received.filter(({ kind }) => kind === "message");
    assert.equal(first?.type, "headline");
    assert.equal(first.element.attrs.from, "a.test");
    assert.equal(first.element.attrs.to, "romeo@a.test/desk");
    const seen: [number, string | null][] = [];
    for (let second = 0; second <= 1_200; second++) {
      for (const text of bodies(phone)) seen.push([second, text]);
      await host.clock.advance(1_000);
    }
    const text = (left: string): string => `The server goes down in ${left}: Moving house`;
    assert.deepEqual(
      seen.map(([, said]) => said),
      ["20 minutes", "10 minutes", "5 minutes", "60 seconds", "10 seconds"].map(text),
    );
    assert.deepEqual(
      seen.map(([second]) => second),
      [0, 600, 900, 1_140, 1_190],
    );
    assert.equal(bodies(desk).length, 5);
    assert.deepEqual(bodies(silent), []);
    await end(host, delay);
  });

  it("tells whoever comes meanwhile at once, with the time that is left then", async () => {
    const host = await hostWith({ text: "{announcement}, {left}, {reason}, {host}", subject: "Soon" });
    const delay = begin(host, 10 * MINUTE);
    await host.clock.advance(2 * MINUTE);
    const late = host.bind("juliet@a.test/late");
    await host.send(late, "<presence/>");
    await host.settle();
    const [stanza] = late.received.filter(({ kind }) => kind === "message");
    assert.equal(stanza?.element.getChildText("body"), "Moving house, 8 minutes, a truck, a.test");
    assert.equal(stanza.element.getChildText("subject"), "Soon");
    // Not a second time when it changes its presence.
    late.take();
    host.notifications.notify("session/available", late);
    await host.settle();
    assert.deepEqual(late.take(), []);
    await end(host, delay);
    host.notifications.notify("session/available", late);
    await host.settle();
    assert.deepEqual(late.take(), []);
  });

  it("says nothing at a delay without an announcement, until there is one", async () => {
    const host = await hostWith();
    const romeo = await host.available("romeo@a.test/x");
    const delay = begin(host, 10 * MINUTE, null);
    await host.clock.advance(MINUTE);
    assert.deepEqual(bodies(romeo), []);
    delay.announcement = "after all";
    await host.clock.advance(1_000);
    assert.deepEqual(bodies(romeo), ["The server goes down in 9 minutes: after all"]);
    await end(host, delay);
  });

  it("tells anew when the end is brought forward or something else is announced", async () => {
    const host = await hostWith();
    const romeo = await host.available("romeo@a.test/x");
    const delay = begin(host, 60 * MINUTE);
    await host.clock.advance(MINUTE);
    assert.equal(bodies(romeo).length, 1);
    delay.deadline = host.clock.now() + 2 * MINUTE;
    await host.clock.advance(1_000);
    assert.deepEqual(bodies(romeo), ["The server goes down in 119 seconds: Moving house"]);
    delay.announcement = "Fire";
    await host.clock.advance(1_000);
    assert.deepEqual(bodies(romeo), ["The server goes down in 118 seconds: Fire"]);
    await host.clock.advance(2 * MINUTE);
    // The schedule is that of the new time.
    assert.deepEqual(bodies(romeo).length, 2);
    await end(host, delay);
  });

  it("tells those who were told, and are still there, that it is cancelled", async () => {
    const host = await hostWith({ cancelled_text: "{host} stays" });
    const romeo = await host.available("romeo@a.test/x");
    const juliet = await host.available("juliet@a.test/x");
    const delay = begin(host, 10 * MINUTE);
    await host.settle();
    const silent = host.bind("nurse@a.test/x");
    await host.end(juliet);
    await end(host, delay);
    for (const session of [romeo, juliet, silent]) session.take();
    await participantOf(host).cancelled?.({
      phase: "announce",
      reason: "not today",
      signal: new AbortController().signal,
      remaining: () => 5_000,
    });
    assert.deepEqual(bodies(romeo), ["a.test stays"]);
    assert.deepEqual([juliet.take(), silent.take()], [[], []]);
    assert.equal(host.clock.pendingTimers, 0);
  });

  it("leaves out who has not taken the last one yet, and nobody waits for them", async () => {
    const host = await hostWith({ batch: 2, repeat: ["10s"], half_way: false });
    const slow = await host.available("slow@a.test/x");
    let free = (): void => undefined;
    slow.slow = () =>
      new Promise((resolve) => {
        free = resolve;
      });
    const others: RecordedSession[] = [];
    for (let index = 0; index < 5; index++) others.push(await host.available(`u${index}@a.test/x`));
    const delay = begin(host, MINUTE);
    await host.settle();
    await host.clock.advance(52_000);
    assert.deepEqual(
      others.map((session) => bodies(session).length),
      [2, 2, 2, 2, 2],
    );
    assert.equal(bodies(slow).length, 1);
    free();
    await end(host, delay);
  });
});

describe("the schedule of announcements", () => {
  it("is half way, and the configured times that the delay is long enough for", () => {
    const before = [5 * MINUTE, MINUTE, 10_000];
    assert.deepEqual(repeats(20 * MINUTE, before, true), [10 * MINUTE, 5 * MINUTE, MINUTE, 10_000]);
    assert.deepEqual(repeats(20 * MINUTE, before, false), [5 * MINUTE, MINUTE, 10_000]);
    assert.deepEqual(repeats(5 * MINUTE, before, true), [2.5 * MINUTE, MINUTE, 10_000]);
    // Half way is there already.
    assert.deepEqual(repeats(10 * MINUTE, before, true), [5 * MINUTE, MINUTE, 10_000]);
    assert.deepEqual(repeats(30_000, before, true), [15_000, 10_000]);
    assert.deepEqual(repeats(30_000, [12_000], true), [12_000]);
    assert.deepEqual(repeats(9_000, before, true), []);
    assert.deepEqual(repeats(0, before, true), []);
    assert.deepEqual(repeats(MINUTE, [30_000, 29_000, 30_000], false), [30_000]);
  });

  it("says times as people do", () => {
    const said = [400, 10_000, 90_000, 119_400, 2 * MINUTE, 299_900, 60 * MINUTE, 61 * MINUTE, 90 * MINUTE];
    assert.deepEqual(said.map(inWords), [
      "1 second",
      "10 seconds",
      "90 seconds",
      "119 seconds",
      "2 minutes",
      "5 minutes",
      "1 hour",
      "1 hour 1 minute",
      "1 hour 30 minutes",
    ]);
    assert.deepEqual([24 * 60 * MINUTE, 25.2 * 60 * MINUTE].map(inWords), ["1 day", "1 day 1 hour"]);
  });
});
