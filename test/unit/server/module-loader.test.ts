import assert from "node:assert/strict";
import { defineModule, type ModuleApi, type PhaseContext, type ServerStopping, z } from "../../../src/module.ts";
import type { PhaseName } from "../../../src/server/phases.ts";
import { jidOf, ModuleHost, stanzaOf } from "../../../src/testing/module-host.ts";
import { MorendoError } from "../../../src/util/errors.ts";

const nothing = (): void => undefined;

function fails(code: string, ...words: string[]) {
  return (thrown: unknown): boolean => {
    assert.ok(thrown instanceof MorendoError, String(thrown));
    assert.equal(thrown.code, code, thrown.message);
    for (const word of words) assert.ok(thrown.message.includes(word), `${thrown.message} does not name ${word}`);
    return true;
  };
}

function contextOf(phase: PhaseName): PhaseContext<PhaseName> {
  return {
    phase,
    cause: "stop",
    reason: "maintenance",
    signal: new AbortController().signal,
    deadline: 1_000,
    remaining: () => 1_000,
    lease: (name) => ({ name, release: nothing }),
    progress: nothing,
  };
}

/** A module that hands its API to the test. */
function holding(name: string): { readonly api: ModuleApi; readonly definition: ReturnType<typeof defineModule> } {
  let held: ModuleApi | undefined;
  const definition = defineModule({
    name,
    load(api) {
      held = api;
    },
  });
  return {
    definition,
    get api() {
      assert.ok(held, "the module was not loaded");
      return held;
    },
  };
}

describe("ModuleLoader", () => {
  it("loads every module of the server by name", async () => {
    const host = new ModuleHost();
    await host.load(["roster", "presence", "offline", "disco", "ping", "version", "time"]);
    assert.equal(host.loader.names.length, 7);
    assert.deepEqual(
      host.loader.streamFeatures().map((feature) => feature.toString()),
      ['<ver xmlns="urn:xmpp:features:rosterver"/>', '<sub xmlns="urn:xmpp:features:pre-approval"/>'],
    );
  });

  it("loads modules after those they require, and otherwise in the order given", async () => {
    const order: string[] = [];
    const module = (name: string, ...requires: string[]) =>
      defineModule({ name, requires, load: () => void order.push(name) });
    const host = new ModuleHost();
    await host.install(module("a", "c"), module("b"), module("c", "d"), module("d"));
    assert.deepEqual(order, ["d", "c", "a", "b"]);
  });

  it("names the modules of a circle", async () => {
    const module = (name: string, ...requires: string[]) => defineModule({ name, requires, load: nothing });
    await assert.rejects(
      new ModuleHost().install(module("a", "b"), module("b", "c"), module("c", "b")),
      fails("MORENDO_MODULE_CYCLE", "b -> c -> b"),
    );
  });

  it("names a required module that is not to be loaded, and who requires it", async () => {
    const module = defineModule({ name: "last-words", requires: ["presence"], load: nothing });
    await assert.rejects(
      new ModuleHost().install(module),
      fails("MORENDO_MODULE_MISSING", '"last-words"', '"presence"'),
    );
  });

  it("names a module that is not there", async () => {
    await assert.rejects(new ModuleHost().load(["pnig"]), fails("MORENDO_MODULE_UNKNOWN", '"pnig"'));
  });

  it("takes no path for a name", async () => {
    for (const name of ["../src", "a/b", "", "A", "a--b"]) {
      await assert.rejects(new ModuleHost().load([name]), fails("MORENDO_MODULE_UNKNOWN", `"${name}"`));
    }
  });

  it("names a module that throws, and unloads what was loaded with it", async () => {
    const undone: string[] = [];
    const good = defineModule({
      name: "good",
      load(api) {
        api.feature("urn:good");
        return () => void undone.push("good");
      },
    });
    const bad = defineModule({
      name: "bad",
      load(api) {
        api.hook("presence/sent", () => undefined);
        throw new Error("no licence");
      },
    });
    const host = new ModuleHost();
    await assert.rejects(host.install(good, bad), fails("MORENDO_MODULE_FAILED", '"bad"', "no licence"));
    assert.deepEqual(undone, ["good"]);
    assert.deepEqual(host.loader.names, []);
    assert.deepEqual(host.loader.announced("host").features, []);
    assert.equal(host.hooks.count(), 0);
  });

  describe("options", () => {
    const module = defineModule({
      name: "words",
      options: z.object({ text: z.string().default("bye"), limits: z.object({ count: z.number() }).optional() }),
      load: nothing,
    });
    const install = (options: Record<string, unknown>) => new ModuleHost().loader.install([module], { words: options });

    it("that are wrong are named with the module", async () => {
      await assert.rejects(install({ text: 3 }), fails("MORENDO_MODULE_OPTIONS", "module.words.text:", "string"));
      await assert.rejects(install({ limits: {} }), fails("MORENDO_MODULE_OPTIONS", "module.words.limits.count:"));
    });

    it("that nobody reads are refused, also with z.object", async () => {
      await assert.rejects(install({ txet: "x" }), fails("MORENDO_MODULE_OPTIONS", "module.words.txet:"));
    });

    it("are refused by a module that has none", async () => {
      const plain = defineModule({ name: "plain", load: nothing });
      await assert.rejects(
        new ModuleHost().loader.install([plain], { plain: { a: 1 } }),
        fails("MORENDO_MODULE_OPTIONS", "module.plain.a:"),
      );
    });

    it("are checked for all before the first is loaded", async () => {
      let isLoaded = false;
      const first = defineModule({
        name: "first",
        load() {
          isLoaded = true;
        },
      });
      await assert.rejects(new ModuleHost().loader.install([first, module], { words: { text: 1 } }));
      assert.equal(isLoaded, false);
    });

    it("for a module that is not loaded are warned of", async () => {
      const host = new ModuleHost();
      await host.loader.install([module], { wrods: {} });
      assert.deepEqual(
        host.logged.map(({ level, fields }) => [level, fields.module]),
        [["warn", "wrods"]],
      );
    });
  });

  it("leaves nothing of a module behind at unload, and takes back the last first", async () => {
    const host = new ModuleHost();
    const order: string[] = [];
    const before = { hooks: host.hooks.count(), notifications: host.notifications.count() };
    await host.install(
      defineModule({
        name: "busy",
        load(api) {
          api.hook("presence/sent", () => undefined);
          api.hook("iq/get/urn:x", () => "empty", "early");
          api.on("session/bound", nothing);
          api.on("server-stopping", nothing);
          api.phase("close-sessions", { when: "before", timeout: "2s" }, nothing);
          api.feature("urn:x");
          api.identity({ category: "c", type: "t" }, "account");
          api.streamFeature("urn:x", "x");
          api.timer(1_000, () => order.push("a timer fired"));
          return () => void order.push(`tidied up with ${host.participants.length} participants`);
        },
      }),
    );
    assert.equal(host.participants.length, 2);
    await host.loader.unloadAll();
    await host.clock.advance(5_000);
    assert.deepEqual(order, ["tidied up with 0 participants"]);
    assert.deepEqual({ hooks: host.hooks.count(), notifications: host.notifications.count() }, before);
    assert.equal(host.clock.pendingTimers, 0);
    assert.deepEqual(host.loader.announced("host"), { identities: [], features: [] });
    assert.deepEqual(host.loader.announced("account"), { identities: [], features: [] });
    assert.deepEqual(host.loader.streamFeatures(), []);
    assert.deepEqual(host.loader.names, []);
  });

  it("lets a module register nothing more once it is unloaded", async () => {
    const host = new ModuleHost();
    const module = holding("late");
    await host.install(module.definition);
    await host.loader.unload("late");
    assert.throws(() => module.api.feature("urn:x"), fails("MORENDO_MODULE_UNLOADED", '"late"'));
    assert.throws(() => module.api.timer(0, nothing), fails("MORENDO_MODULE_UNLOADED", '"late"', "timer"));
    assert.equal(host.clock.pendingTimers, 0);
  });

  it("keeps a feature that two modules announce until both are gone", async () => {
    const announcer = (name: string) => defineModule({ name, load: (api) => api.feature("urn:shared") });
    const host = await new ModuleHost().install(announcer("one"), announcer("two"));
    assert.deepEqual(host.loader.announced("host").features, ["urn:shared"]);
    await host.loader.unload("one");
    assert.deepEqual(host.loader.announced("host").features, ["urn:shared"]);
    await host.loader.unload("two");
    assert.deepEqual(host.loader.announced("host").features, []);
  });

  it("logs what a handler, a listener, a timer or an unloading throws with the module's name", async () => {
    const host = new ModuleHost();
    const thrower = (what: string) => () => {
      throw new Error(what);
    };
    await host.install(
      defineModule({
        name: "clumsy",
        load(api) {
          api.hook("iq/get/urn:x", thrower("handler"));
          api.on("session/bound", thrower("listener"));
          api.on("session/bound", () => Promise.reject(new Error("async listener")) as unknown as undefined);
          api.timer(10, thrower("timer"));
          return thrower("unload");
        },
      }),
    );
    const romeo = host.bind("romeo@a.test/x");
    await host.send(romeo, '<iq type="get" id="1"><q xmlns="urn:x"/></iq>');
    await host.clock.advance(10);
    await host.loader.unloadAll();
    const messages = host.logged.map(({ level, fields }) => {
      const { message } = fields.err as Error;
      return `${level} ${String(fields.module)} ${message}`;
    });
    assert.deepEqual(messages.toSorted(), [
      "error clumsy async listener",
      "error clumsy handler",
      "error clumsy listener",
      "error clumsy timer",
      "error clumsy unload",
    ]);
  });

  it("keeps what modules store apart", async () => {
    const host = new ModuleHost();
    const one = holding("one");
    const two = holding("two");
    await host.install(one.definition, two.definition);
    await one.api.storage.put(["k"], 1);
    await one.api.storage.batch([
      [["l"], 2],
      [["k"], undefined],
    ]);
    const added = await one.api.storage.append(["list"], "x");
    assert.deepEqual(await one.api.storage.range(["list"]), [[added, "x"]]);
    assert.equal(await one.api.storage.get(["k"]), undefined);
    assert.equal(await two.api.storage.get(["l"]), undefined);
    assert.equal(await host.store.get("module:one", ["l"]), 2);
  });

  describe("server-stopping", () => {
    const listening = (listener: (event: ServerStopping) => void, name = "last-words") =>
      defineModule({ name, load: (api) => api.on("server-stopping", listener) });

    async function run(host: ModuleHost): Promise<string[]> {
      return await Promise.all(
        host.participants.map(async ({ phase, participant }) => {
          try {
            await participant.run(contextOf(phase));
            return `${participant.name}: done`;
          } catch (thrown) {
            return `${participant.name}: ${(thrown as Error).message}`;
          }
        }),
      );
    }

    it("is a participant of that phase under the module's name, told why", async () => {
      let told = "";
      const host = await new ModuleHost().install(listening(({ cause, reason }) => (told = `${cause}: ${reason}`)));
      assert.deepEqual(
        host.participants.map(({ phase }) => phase),
        ["server-stopping"],
      );
      assert.deepEqual(await run(host), ["last-words: done"]);
      assert.equal(told, "stop: maintenance");
    });

    it("waits for all that is handed over, also by what is waited for", async () => {
      const done: string[] = [];
      const host = new ModuleHost();
      await host.install(
        listening((event) => {
          event.waitUntil(
            host.clock.turn().then(() => {
              done.push("first");
              event.waitUntil(host.clock.turn().then(() => done.push("second")));
            }),
          );
        }),
      );
      assert.deepEqual(await run(host), ["last-words: done"]);
      assert.deepEqual(done, ["first", "second"]);
    });

    it("waits for an async listener", async () => {
      let isDone = false;
      const host = new ModuleHost();
      await host.install(
        listening((async () => {
          await host.clock.turn();
          isDone = true;
        }) as () => void),
      );
      await run(host);
      assert.ok(isDone);
    });

    it("has every listener of its own: one that throws or rejects is recorded and harms no other", async () => {
      const rejected = listening((event) => event.waitUntil(Promise.reject(new Error("disk"))), "rejects");
      const throws = listening(() => {
        throw new Error("bug");
      }, "throws");
      const host = await new ModuleHost().install(rejected, throws, listening(nothing, "fine"));
      assert.deepEqual(await run(host), ["rejects: disk", "throws: bug", "fine: done"]);
    });

    it("tells several listeners of one module apart", async () => {
      const host = new ModuleHost();
      const module = holding("two");
      await host.install(module.definition);
      module.api.on("server-stopping", nothing);
      module.api.on("server-stopping", nothing);
      assert.deepEqual(await run(host), ["two: done", "two (2): done"]);
    });
  });

  it("refuses a phase timeout that is not a duration", async () => {
    const module = defineModule({ name: "x", load: (api) => api.phase("quit", { timeout: "soon" }, nothing) });
    await assert.rejects(new ModuleHost().install(module), fails("MORENDO_MODULE_FAILED", '"soon"'));
  });

  it("shows modules the server: state, hosts, routing and sessions", async () => {
    const host = new ModuleHost({ hosts: ["a.test", "c.test"] });
    const module = holding("looker");
    await host.install(module.definition);
    const session = host.bind("romeo@a.test/x");
    const { api } = module;
    host.state = "stopping";
    assert.equal(api.state, "stopping");
    assert.deepEqual(api.hosts, ["a.test", "c.test"]);
    assert.equal(api.isLocal(jidOf("c.test")), true);
    assert.equal(await api.accountExists(jidOf("romeo@a.test")), true);
    assert.equal(await api.accountExists(jidOf("nobody@a.test")), false);
    assert.deepEqual(api.sessionsOf(jidOf("romeo@a.test")), [session]);
    assert.equal(api.session(jidOf("romeo@a.test/x")), session);
    await api.route(stanzaOf('<message from="a.test" to="romeo@a.test/x"/>'));
    assert.equal(session.received.length, 1);
  });
});
