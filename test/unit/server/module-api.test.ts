// What the API refuses during a drain and after an unloading, and how a module that misbehaves is named.

import assert from "node:assert/strict";
import { defineModule, type ModuleApi, type PhaseContext, type ServerStopping, z } from "../../../src/module.ts";
import { LoadedModule } from "../../../src/server/loaded-module.ts";
import { noOperations } from "../../../src/server/no-operations.ts";
import type { PhaseName } from "../../../src/server/phases.ts";
import { type DrainReport, Lifecycle, silentLog, systemRandom } from "../../../src/shutdown/index.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { ModuleHost, stanzaOf } from "../../../src/testing/module-host.ts";
import { MorendoError } from "../../../src/util/errors.ts";

const nothing = (): void => undefined;
const never = (): Promise<void> => new Promise(() => undefined);

function fails(code: string, ...words: string[]) {
  return (thrown: unknown): boolean => {
    assert.ok(thrown instanceof MorendoError, String(thrown));
    assert.equal(thrown.code, code, thrown.message);
    for (const word of words) assert.ok(thrown.message.includes(word), `${thrown.message} does not name ${word}`);
    return true;
  };
}

/** A host with one module, `late`, whose API the test holds. */
async function held(): Promise<{ readonly host: ModuleHost; readonly api: ModuleApi }> {
  const host = new ModuleHost();
  let api: ModuleApi | undefined;
  await host.install(
    defineModule({
      name: "late",
      load(given) {
        api = given;
      },
    }),
  );
  assert.ok(api);
  return { host, api };
}

const REGISTRATIONS: Readonly<Record<string, (api: ModuleApi) => void>> = {
  hook: (api) => api.hook("presence/sent", () => undefined),
  on: (api) => api.on("session/bound", nothing),
  feature: (api) => api.feature("urn:x"),
  identity: (api) => api.identity({ category: "c", type: "t" }),
  streamFeature: (api) => api.streamFeature("urn:x", "x"),
  handover: (api) => api.handover({ version: 1, save: () => null, load: nothing }),
};

describe("the module API during a drain", () => {
  for (const [name, register] of Object.entries(REGISTRATIONS)) {
    it(`refuses ${name} past the point of no return, and not before`, async () => {
      const { host, api } = await held();
      host.state = "stopping";
      register(api);
      host.isPastNoReturn = true;
      assert.throws(() => register(api), fails("MORENDO_STOPPING", '"late"', "going down"));
    });

    it(`refuses ${name} to a module that is unloaded`, async () => {
      const { host, api } = await held();
      await host.loader.unload("late");
      assert.throws(() => register(api), fails("MORENDO_MODULE_UNLOADED", '"late"', "unloaded"));
    });
  }

  it("refuses registering to a module that is just being unloaded, also from its own tidying up", async () => {
    const host = new ModuleHost();
    let thrown: unknown;
    await host.install(
      defineModule({
        name: "late",
        load: (api) => () => {
          try {
            api.feature("urn:x");
          } catch (error) {
            thrown = error;
          }
        },
      }),
    );
    await host.loader.unload("late");
    assert.ok(fails("MORENDO_MODULE_UNLOADED")(thrown));
  });

  it("takes participants for phases that are to come, and refuses those of a phase that is over", async () => {
    const { host, api } = await held();
    host.state = "stopping";
    host.isPastNoReturn = true;
    host.endedPhases.add("stop-accepting").add("close-sessions").add("server-stopping");
    api.phase("drain-s2s", {}, nothing);
    assert.throws(
      () => api.phase("close-sessions", {}, nothing),
      fails("MORENDO_PHASE_OVER", '"late"', '"close-sessions"'),
    );
    assert.throws(() => api.on("server-stopping", nothing), fails("MORENDO_PHASE_OVER", '"late"', '"server-stopping"'));
  });

  it("refuses to take part after quit, when modules are unloaded", async () => {
    const { api } = await held();
    assert.throws(
      () => api.phase("quit", { when: "after" }, nothing),
      fails("MORENDO_MODULE_MISUSE", '"late"', "unloaded"),
    );
  });

  it("refuses a timer that could only fire after the deadline", async () => {
    const { host, api } = await held();
    host.remaining = 5_000;
    api.timer(6_000, nothing);
    host.isPastNoReturn = true;
    api.timer(5_000, nothing);
    assert.throws(() => api.timer(5_001, nothing), fails("MORENDO_TIMER_TOO_LATE", '"late"', "5000 ms left"));
    await host.loader.unload("late");
    assert.equal(host.clock.pendingTimers, 0);
  });

  it("refuses to route when the links are drained, and not while they are being drained", async () => {
    const { host, api } = await held();
    const stanza = stanzaOf('<message from="a.test" to="juliet@b.test"><body>x</body></message>');
    host.isPastNoReturn = true;
    await api.route(stanza);
    assert.equal(host.remote.length, 1);
    host.endedPhases.add("drain-s2s");
    assert.throws(() => void api.route(stanza), fails("MORENDO_ROUTE_CLOSED", '"late"', "juliet@b.test"));
    assert.equal(host.remote.length, 1);
    // Whoever carries stanzas says what became of it.
    await api.route(stanzaOf('<presence type="unavailable" from="romeo@a.test/x" to="juliet@b.test"/>'));
    assert.equal(host.remote.length, 2);
  });

  it("refuses storage by name once the store is closed", async () => {
    const { host, api } = await held();
    await api.storage.put(["k"], 1);
    await host.store.close();
    const { storage } = api;
    const code = fails("MORENDO_STORE_CLOSED", '"late"', "storage.");
    await assert.rejects(storage.get(["k"]), code);
    await assert.rejects(storage.put(["k"], 1), code);
    await assert.rejects(storage.delete(["k"]), code);
    await assert.rejects(storage.batch([[["k"], 1]]), code);
    await assert.rejects(storage.range(["k"]), code);
    await assert.rejects(storage.append(["k"], 1), code);
    await storage.flushed();
  });

  it("refuses loading, unloading and reloading", async () => {
    const { host } = await held();
    for (const state of ["stopping", "stopped", "starting"] as const) {
      host.state = state;
      await assert.rejects(host.loader.add("ping"), fails("MORENDO_STOPPING", '"ping"', state));
      await assert.rejects(host.loader.remove("late"), fails("MORENDO_STOPPING", '"late"'));
      await assert.rejects(host.loader.reload("late"), fails("MORENDO_STOPPING", '"late"'));
    }
    assert.deepEqual(host.loader.names, ["late"]);
  });

  it("names in the log what it refused, and counts it for the report", async () => {
    const { host, api } = await held();
    host.isPastNoReturn = true;
    for (let count = 0; count < 300; count++) assert.throws(() => api.feature("urn:x"));
    const warnings = host.logged.filter(({ level }) => level === "warn");
    assert.match(warnings[0]?.message ?? "", /module "late": feature "urn:x" refused/);
    assert.equal(warnings[0]?.fields.module, "late");
    assert.equal(warnings.length, 100, "the log is not bounded");
    assert.deepEqual(host.loader.faults(), { late: { "was refused: MORENDO_STOPPING": 300 } });
    await host.loader.unload("late");
    assert.deepEqual(host.loader.faults(), { late: { "was refused: MORENDO_STOPPING": 300 } });
  });
});

describe("a module in a phase", () => {
  type Plan = readonly { readonly name: PhaseName; readonly floorMs: number; readonly ceilingMs: number }[];
  const PLAN: Plan = [
    { name: "stop-accepting", floorMs: 100, ceilingMs: 10_000 },
    { name: "close-sessions", floorMs: 100, ceilingMs: 10_000 },
    { name: "server-stopping", floorMs: 100, ceilingMs: 10_000 },
    { name: "drain-s2s", floorMs: 100, ceilingMs: 10_000 },
    { name: "quit", floorMs: 1_000, ceilingMs: 10_000 },
  ];

  /** A module whose phases a real lifecycle runs. */
  function inLifecycle(): {
    readonly clock: ManualClock;
    readonly lifecycle: Lifecycle<PhaseName>;
    readonly module: LoadedModule;
    stop(): Promise<DrainReport>;
  } {
    const clock = new ManualClock();
    const host = new ModuleHost();
    const lifecycle = new Lifecycle<PhaseName>({
      plan: PLAN,
      pointOfNoReturn: "close-sessions",
      clock,
      random: systemRandom,
      log: silentLog,
      budgetMs: 20_000,
      hurryMs: 1_000,
    });
    lifecycle.started();
    const { hooks, notifications, store, rosters, router } = host;
    const routing = {
      route: (stanza: Parameters<ModuleApi["route"]>[0]) => router.route(stanza),
      isLocal: () => true,
      accountExists: async () => true,
      sessionsOf: () => [],
      session: () => undefined,
      sessions: () => [],
    };
    const announcements = { count: 0 } as never;
    const operations = noOperations;
    const module = new LoadedModule("late", {
      hooks,
      operations,
      notifications,
      store,
      rosters,
      lifecycle,
      clock,
      announcements,
      router: routing,
      hosts: ["a.test"],
      random: systemRandom,
      log: silentLog,
      serverVersion: "1",
    });
    return {
      clock,
      lifecycle,
      module,
      stop: () => lifecycle.stop({ cause: "stop", reason: "a test", trigger: "test" }),
    };
  }

  it("is told its deadline, which a hurry brings nearer", async () => {
    const { clock, lifecycle, module, stop } = inLifecycle();
    let context: PhaseContext<PhaseName> | undefined;
    module.phase("close-sessions", { timeout: "3s" }, async (given) => {
      context = given;
      await clock.sleep(2_500);
    });
    await clock.advance(500);
    const stopped = stop();
    await clock.advance(10);
    assert.equal(context?.deadline, 3_500);
    assert.equal(context?.remaining(), 2_990);
    lifecycle.hurry("test");
    assert.ok((context?.deadline ?? 0) < 1_510);
    await clock.advance(30_000);
    assert.equal((await stopped).hurried, true);
  });

  it("is refused leases and progress once it is over, settled or out of time", async () => {
    const { clock, module, stop } = inLifecycle();
    const contexts: PhaseContext<PhaseName>[] = [];
    module.phase("close-sessions", { name: "quick" }, (context) => void contexts.push(context));
    module.phase("close-sessions", { name: "slow", timeout: "1s" }, (context) => {
      contexts.push(context);
      return never();
    });
    module.phase("close-sessions", { name: "leasing" }, (context) => {
      contexts.push(context);
      const lease = context.lease("first");
      clock.setTimer(1_500, () => {
        context.lease("second").release();
        context.progress({ done: 1, total: 1 });
        lease.release();
      });
    });
    const stopped = stop();
    await clock.advance(30_000);
    const report = await stopped;
    assert.deepEqual(
      report.phases[1]?.participants.map(({ name, outcome }) => [name, outcome]),
      [
        ["late: quick", "done"],
        ["late: slow", "timed-out"],
        ["late: leasing", "done"],
      ],
    );
    for (const context of contexts) {
      assert.throws(() => context.lease("x"), fails("MORENDO_PHASE_OVER", '"late"', 'lease "x"', '"close-sessions"'));
      assert.throws(() => context.progress({ done: 0, total: 1 }), fails("MORENDO_PHASE_OVER", '"late"', "progress"));
    }
    assert.deepEqual(module.registrations, { participants: 3 });
  });

  it("is refused progress and leases that nobody could print, and readers of progress see no harm", async () => {
    const { clock, lifecycle, module, stop } = inLifecycle();
    const fault = fails("MORENDO_MODULE_MISUSE", '"late"');
    const bad = [undefined, null, { done: 1n, total: 2n }, { done: 1, total: 2, blockers: 5 }, { done: 1, total: "2" }];
    module.phase("close-sessions", {}, async ({ progress, lease }) => {
      for (const one of bad) assert.throws(() => progress(one as never), fault);
      for (const name of [{}, Symbol("x"), 1, "x".repeat(10_000)]) assert.throws(() => lease(name as never), fault);
      for (let number = 0; number < 3_000; number++) lease(`held ${number}`);
      await clock.sleep(1_000);
    });
    const told: number[] = [];
    lifecycle.on("progress", ({ total }) => told.push(total));
    const stopped = stop();
    await clock.advance(30_000);
    const { phases } = await stopped;
    assert.ok(told.length > 0);
    const participant = phases.find(({ name }) => name === "close-sessions")?.participants[0];
    assert.equal(participant?.outcome, "timed-out", participant?.error);
    assert.equal(participant.leaseHolders?.length, 1_001);
    assert.equal(participant.leaseHolders.at(-1), "and 2000 more");
  });

  it("may throw whatever it likes: it is recorded, and the phases go on", async () => {
    const { clock, module, stop } = inLifecycle();
    const trap = new Proxy(new Error("trap"), {
      get: () => {
        throw new Error("caught");
      },
    });
    const strange = [
      Object.create(null),
      trap,
      Object.assign(new Error("x"), { stack: {} }),
      undefined,
      Symbol("x"),
      1n,
    ];
    for (const thrown of strange) {
      module.phase("close-sessions", {}, () => {
        throw thrown;
      });
      module.phase("server-stopping", {}, () => Promise.reject(thrown as Error));
      module.on("server-stopping", (event) => event.waitUntil(Promise.reject(thrown as Error)));
    }
    const stopped = stop();
    await clock.advance(30_000);
    const report = await stopped;
    const outcomes = report.phases.flatMap(({ participants }) => participants.map(({ outcome }) => outcome));
    assert.deepEqual(
      outcomes,
      outcomes.map(() => "failed"),
    );
    assert.equal(outcomes.length, 3 * strange.length);
    assert.doesNotThrow(() => JSON.stringify(report));
  });

  it("is refused waitUntil once the event is over, and what it handed over too late is nobody's fault but its own", async () => {
    const { clock, module, stop } = inLifecycle();
    let event: ServerStopping | undefined;
    module.on("server-stopping", (given) => {
      event = given;
      given.waitUntil(clock.sleep(100));
    });
    const stopped = stop();
    await clock.advance(50);
    assert.equal(event?.deadline, 10_000);
    await clock.advance(30_000);
    await stopped;
    assert.throws(
      () => event?.waitUntil(Promise.reject(new Error("late"))),
      fails("MORENDO_PHASE_OVER", '"late"', "waitUntil"),
    );
    await clock.turn();
    assert.equal(module.faults.counts["failed at server-stopping"], 1);
  });

  it("sees the report as far as it has come, and routes no more when it is drained", async () => {
    const { clock, module, lifecycle, stop } = inLifecycle();
    const seen: unknown[] = [];
    module.phase("drain-s2s", { when: "after" }, () => {
      seen.push(module.report()?.phases.map(({ name }) => name));
      void module.route(stanzaOf('<message from="a.test" to="juliet@b.test"/>'));
    });
    module.phase("quit", { when: "before" }, () => {
      seen.push(
        module.report()?.phases.map(({ name }) => name),
        module.report()?.obligations.run.proved,
      );
      assert.throws(
        () => void module.route(stanzaOf('<message from="a.test" to="juliet@b.test"/>')),
        fails("MORENDO_ROUTE_CLOSED"),
      );
      seen.push("refused");
    });
    lifecycle.attach("close-sessions", {
      name: "x",
      run: () => lifecycle.obligations.settle("b.test", "proved", { evidence: "pong" }),
    });
    assert.equal(module.report(), undefined);
    const stopped = stop();
    await clock.advance(30_000);
    assert.equal((await stopped).outcome, "clean");
    const names = PLAN.map(({ name }) => name);
    assert.deepEqual(seen, [names.slice(0, 3), names.slice(0, 4), 1, "refused"]);
  });

  it("takes back what it prepared when the stop is cancelled, once each time", async () => {
    const { clock, lifecycle, module, stop } = inLifecycle();
    const seen: string[] = [];
    module.phase("stop-accepting", { cancelled: () => void seen.push("taken back") }, ({ signal }) =>
      clock.sleep(5_000, signal),
    );
    for (let round = 0; round < 2; round++) {
      void stop();
      await clock.advance(10);
      void lifecycle.cancel({ reason: "no", trigger: "test" });
      await clock.advance(10);
    }
    assert.deepEqual(seen, ["taken back", "taken back"]);
  });

  it("that hangs in quit leaves the time for unloading modules and closing the store", async () => {
    const { clock, lifecycle, module, stop } = inLifecycle();
    module.phase("quit", { name: "before", when: "before" }, never);
    module.phase("quit", { name: "during" }, never);
    lifecycle.attach("quit", { name: "store", run: () => clock.sleep(100) });
    const stopped = stop();
    await clock.advance(60_000);
    const quit = (await stopped).phases.at(-1);
    assert.deepEqual(
      quit?.participants.map(({ name, outcome, durationMs }) => [name, outcome, durationMs]),
      [
        ["late: before", "timed-out", 5_000],
        ["late: during", "timed-out", 5_000],
        ["store", "done", 100],
      ],
    );
  });
});

describe("a module that misbehaves", () => {
  it("by blocking the event loop is named with what it did", async () => {
    const host = new ModuleHost();
    await host.install(
      defineModule({
        name: "clumsy",
        load(api) {
          // The manual clock stands still while code runs, so the code itself moves it.
          const block = (): undefined => void host.clock.advance(300);
          api.hook("iq/get/urn:x", block);
          api.on("session/bound", block);
        },
      }),
    );
    const clock = host.clock as { now(): number };
    let now = 0;
    clock.now = () => (now += 300);
    const romeo = host.bind("romeo@a.test/x");
    await host.send(romeo, '<iq type="get" id="1"><q xmlns="urn:x"/></iq>');
    assert.deepEqual(host.loader.faults(), {
      clumsy: { "blocked the event loop at session/bound": 1, "blocked the event loop at iq/get/urn:x": 1 },
    });
    assert.ok(
      host.logged.some(({ message }) => message.startsWith('module "clumsy" blocked the event loop at iq/get')),
    );
  });

  it("by answers that nobody can send is named, and the next module is asked", async () => {
    const host = new ModuleHost();
    const answers: readonly unknown[] = [null, 42, "hello", {}, [], new Error("no"), Promise.resolve(null)];
    await host.install(
      ...answers.map((answer, number) =>
        defineModule({ name: `m${number}`, load: (api) => api.hook("iq/get/urn:x", () => answer as never) }),
      ),
      defineModule({ name: "good", load: (api) => api.hook("iq/get/urn:x", () => "empty") }),
    );
    const romeo = host.bind("romeo@a.test/x");
    await host.send(romeo, '<iq type="get" id="1"><q xmlns="urn:x"/></iq>');
    assert.match(romeo.take().join(), /type="result"/);
    assert.equal(host.logged.filter(({ message }) => message === "a handler failed").length, answers.length);
  });

  it("by options that cannot be checked is named", async () => {
    const host = new ModuleHost();
    const broken = z.strictObject({
      text: z.string().transform(() => {
        throw new Error("boom");
      }),
    });
    const waits = z.strictObject({ text: z.string().refine(() => Promise.resolve(true)) });
    for (const options of [broken, waits]) {
      const definition = defineModule({ name: "odd", options, load: nothing });
      const installed = host.loader.install([definition], { odd: { text: "x" } });
      await assert.rejects(installed, fails("MORENDO_MODULE_OPTIONS", "module.odd"));
    }
  });

  it("by never finishing its tidying up is named, and holds nobody up", async () => {
    const host = new ModuleHost();
    await host.install(defineModule({ name: "clumsy", load: () => never }));
    const unloaded = host.loader.unloadAll();
    await host.clock.advance(3_000);
    await unloaded;
    assert.deepEqual(host.loader.faults(), { clumsy: { "did not settle at unload": 1 } });
    assert.equal(host.clock.pendingTimers, 0);
  });

  it("by never finishing its loading is named during the start, and given up at run time", async () => {
    const host = new ModuleHost();
    const slow = defineModule({
      name: "slow",
      load(api) {
        api.feature("urn:slow");
        return never();
      },
    });
    void host.install(slow);
    await host.clock.advance(11_000);
    assert.match(host.logged[0]?.message ?? "", /module "slow" has not finished load after 10000 ms/);
    // The pipeline does not wait for it.
    await host.loader.unloadAll();
    assert.deepEqual(host.loader.announced("host").features, []);
  });

  it("has no more than half of what is left at the unloading of all", async () => {
    const host = new ModuleHost();
    const hanging = (name: string) => defineModule({ name, load: () => never });
    await host.install(hanging("one"), hanging("two"), hanging("three"));
    const end = host.clock.now() + 1_000;
    const unloaded = host.loader.unloadAll(() => Math.max(0, end - host.clock.now()));
    await host.clock.advance(1_000);
    await unloaded;
    assert.equal(Object.keys(host.loader.faults()).length, 3);
  });
});

describe("what a module sees", () => {
  it("all bound sessions", async () => {
    const { host, api } = await held();
    const sessions = [host.bind("romeo@a.test/x"), host.bind("romeo@a.test/y"), host.bind("juliet@a.test/x")];
    assert.deepEqual(new Set(api.sessions()), new Set(sessions));
  });
});
