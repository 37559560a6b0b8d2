// The last message by itself: who is meant, what is filled in, the pace, and slow readers. On the wire:
// test/integration/modules/last-message.test.ts.

import assert from "node:assert/strict";
import type { PhaseContext, PhaseName } from "../../src/module.ts";
import type { Participant, Progress } from "../../src/shutdown/types.ts";
import { ModuleHost, type RecordedSession } from "../../src/testing/module-host.ts";

interface Run {
  readonly done: Promise<void>;
  readonly told: Progress[];
  readonly over: AbortController;
}

async function hostWith(options: Readonly<Record<string, unknown>> = {}): Promise<ModuleHost> {
  const host = new ModuleHost();
  // The presence module keeps its ledger from the end of the start on, with timers of its own.
  host.state = "starting";
  return await host.load(["presence", "last-message"], { "last-message": options });
}

function participantOf(host: ModuleHost): Participant<PhaseName> {
  const [entry] = host.participants;
  assert.equal(host.participants.length, 1);
  assert.equal(entry?.phase, "stop-accepting");
  assert.equal(entry?.participant.when, "after");
  return entry.participant;
}

/** Begins the participant's work as the pipeline does. */
function begin(host: ModuleHost, change: Partial<PhaseContext<PhaseName>> = {}): Run {
  const over = new AbortController();
  const told: Progress[] = [];
  const context: PhaseContext<PhaseName> = {
    phase: "stop-accepting",
    cause: "stop",
    reason: "new version",
    signal: over.signal,
    deadline: 3_000,
    remaining: () => (over.signal.aborted ? 0 : 3_000),
    lease: (name) => ({ name, release: () => undefined }),
    progress: (progress) => told.push(progress),
    ...change,
  };
  return { done: Promise.resolve(participantOf(host).run(context)), told, over };
}

const bodies = (session: RecordedSession): (string | null)[] =>
  session.received.splice(0).map(({ element }) => element.getChildText("body"));

describe("last-message", () => {
  it("goes once to each session that is available, from its host, as a headline", async () => {
    const host = await hostWith({ text: "{host}: {cause}, {reason}", subject: "Good night" });
    const first = await host.available("romeo@a.test/x");
    const second = await host.available("romeo@a.test/y", "<presence><priority>-1</priority></presence>");
    const silent = host.bind("romeo@a.test/silent");
    first.take();
    await begin(host).done;
    for (const session of [first, second]) {
      assert.equal(session.received.length, 1);
      const { element, type } = session.received[0] ?? assert.fail();
      assert.equal(type, "headline");
      assert.equal(element.attrs.from, "a.test");
      assert.equal(element.attrs.to, session.jid.toString());
      assert.equal(element.getChildText("subject"), "Good night");
      assert.deepEqual(bodies(session), ["a.test: stop, new version"]);
    }
    assert.deepEqual(bodies(silent), []);
  });

  it("is not sent for other causes than those it is meant for", async () => {
    const host = await hostWith({ causes: ["stop"] });
    const romeo = await host.available("romeo@a.test/x");
    await begin(host, { cause: "restart" }).done;
    assert.deepEqual(bodies(romeo), []);
    await begin(host).done;
    assert.deepEqual(bodies(romeo), ["The server is going down: new version"]);
  });

  it("spares accounts and domains", async () => {
    const host = await hostWith({ exempt: ["Monitor@a.test"] });
    const monitor = await host.available("monitor@a.test/x");
    const romeo = await host.available("romeo@a.test/x");
    await begin(host).done;
    assert.deepEqual([bodies(monitor).length, bodies(romeo).length], [0, 1]);
    const whole = await hostWith({ exempt: ["a.test"] });
    const juliet = await whole.available("juliet@a.test/x");
    await begin(whole).done;
    assert.deepEqual(bodies(juliet), []);
  });

  it("gives other work its turn between batches", async () => {
    const host = await hostWith({ batch: 4 });
    const sessions: RecordedSession[] = [];
    for (let index = 0; index < 10; index++) sessions.push(await host.available(`u${index}@a.test/x`));
    const written = (): number => sessions.filter(({ received }) => received.length > 0).length;
    const { done, told } = begin(host);
    assert.equal(written(), 4);
    await done;
    assert.equal(written(), 10);
    assert.deepEqual(told.at(-1), { done: 10, total: 10, blockers: [] });
  });

  it("waits for a slow reader, lets nobody else wait for it, and names it", async () => {
    const host = await hostWith({ batch: 1 });
    const slow = await host.available("slow@a.test/x");
    const quick = await host.available("quick@a.test/x");
    let read = (): void => undefined;
    slow.slow = () =>
      new Promise((resolve) => {
        read = resolve;
      });
    const { done, told } = begin(host);
    let isDone = false;
    void done.then(() => {
      isDone = true;
    });
    await host.settle();
    assert.equal(quick.received.length, 1);
    assert.equal(isDone, false);
    assert.deepEqual(told.at(-1), { done: 1, total: 2, blockers: ["slow@a.test/x"] });
    read();
    await done;
    assert.deepEqual(told.at(-1), { done: 2, total: 2, blockers: [] });
  });

  it("waits no longer than its time, and says nothing afterwards", async () => {
    const host = await hostWith();
    const slow = await host.available("slow@a.test/x");
    let fail = (_: Error): void => undefined;
    slow.slow = () =>
      new Promise((_, reject) => {
        fail = reject;
      });
    const { done, told, over } = begin(host);
    await host.settle();
    const before = told.length;
    over.abort();
    await done;
    fail(new Error("the session is gone"));
    await host.settle();
    assert.equal(told.length, before);
  });

  it("tells those who were told, and nobody else, when the stop is cancelled", async () => {
    const host = await hostWith({ batch: 1, cancelled_text: "{host} stays" });
    const first = await host.available("a@a.test/x");
    const gone = await host.available("b@a.test/x");
    const { done, over } = begin(host);
    await done;
    over.abort();
    for (const session of [first, gone]) bodies(session);
    const later = await host.available("later@a.test/x");
    gone.open = false;
    const context = { phase: "stop-accepting", reason: "", signal: over.signal, remaining: () => 5_000 } as const;
    await participantOf(host).cancelled?.(context);
    assert.deepEqual(bodies(first), ["a.test stays"]);
    assert.deepEqual([...bodies(gone), ...bodies(later)], []);
    assert.equal(host.clock.pendingTimers, 0);
    // Once: a second stop that is cancelled before it told anybody has nothing to take back.
    await participantOf(host).cancelled?.(context);
    assert.deepEqual(bodies(first), []);
  });

  it("says which placeholder it does not know", async () => {
    await assert.rejects(
      hostWith({ text: "{reasn}" }),
      /module\.last-message\.text: there is no placeholder \{reasn\}/,
    );
    await assert.rejects(hostWith({ exempt: ["a@b/c"] }), /module\.last-message\.exempt\.0: expected an account/);
  });
});
