// Sessions that go on after a stop and a start: several lives of a server on clocks moved by hand, with one disk.

import assert from "node:assert/strict";
import offline from "../../../modules/offline/index.ts";
import presence from "../../../modules/presence/index.ts";
import roster from "../../../modules/roster/index.ts";
import { Jid } from "../../../src/jid/jid.ts";
import { defineModule } from "../../../src/module.ts";
import type { PhaseName } from "../../../src/server/phases.ts";
import type { DrainReport } from "../../../src/shutdown/report.ts";
import { MemoryStore } from "../../../src/store/memory.ts";
import type { Key, Value } from "../../../src/store/store.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { MemoryNetwork } from "../../../src/testing/memory-network.ts";
import type { RawClient, RawClientOptions } from "../../../src/testing/raw-client.ts";
import { startServer, type TestConfig, type TestServer } from "../../../src/testing/start-server.ts";
import { SmClient } from "../../support/sm-client.ts";
import { chat } from "../../support/stanzas.ts";
import { timePasses } from "../../support/time-passes.ts";

const ACCOUNTS = ["romeo", "juliet", "nurse"];
const KEPT = "kept-sessions";
const MODULES = [roster, presence, offline];

type Options = NonNullable<Parameters<typeof startServer>[1]>;

/** One disk, and a server that is stopped and started again. */
class Lives {
  clock = new ManualClock();
  disk = new MemoryStore();
  config: TestConfig = {};
  #network = new MemoryNetwork({ clock: this.clock });
  #running: TestServer | undefined;
  #isFilled = false;
  /** By the calendar; how far the clock is moved while things are tidied up is a matter of chance. */
  #stoppedAt = 0;

  get server(): TestServer {
    assert.ok(this.#running !== undefined);
    return this.#running;
  }

  /** Starts the next life, the server having been down for `downMs` by the calendar. */
  async start(downMs = 1_000, options: Options = {}): Promise<void> {
    if (this.#isFilled) {
      this.clock = new ManualClock(this.#stoppedAt + downMs);
      this.#network = new MemoryNetwork({ clock: this.clock });
      this.disk = this.disk.afterCrash();
    }
    const { clock } = this;
    const accounts = this.#isFilled ? [] : ACCOUNTS;
    this.#isFilled = true;
    this.#running = await this.pass(
      startServer(this.config, {
        accounts,
        clock,
        network: this.#network,
        store: this.disk,
        modules: MODULES,
        ...options,
      }),
    );
    for (const name of accounts) {
      const others = accounts.filter((other) => other !== name);
      await this.server.server.rosters.importItems(
        Jid.of(name, "a.test"),
        others.map((other) => ({ jid: `${other}@a.test`, subscription: "both", groups: [] })),
      );
    }
  }

  async stop(request: Parameters<TestServer["stop"]>[0] = {}): Promise<DrainReport> {
    const report = await this.pass(this.server.stop(request), 50);
    this.#stoppedAt = this.clock.wallTime();
    await this.pass(this.server.dispose(), 50);
    this.#running = undefined;
    return report;
  }

  /** The process is gone, and the disk is as it was. */
  crash(): void {
    this.disk = this.disk.afterCrash();
    this.#stoppedAt = this.clock.wallTime();
    const running = this.server;
    this.#running = undefined;
    void running.stop();
  }

  async close(): Promise<void> {
    if (this.#running !== undefined) await this.pass(this.#running.dispose(), 50);
  }

  client(options: Partial<RawClientOptions> = {}): RawClient {
    return this.server.client({ security: "direct", mechanism: "PLAIN", ...options });
  }

  async managed(username: string, options: Parameters<typeof SmClient.start>[3] = {}): Promise<SmClient> {
    const client = await this.pass(SmClient.start(this, username, "1", options));
    client.raw.presence();
    await this.clock.advance(20);
    return client;
  }

  async plain(username: string): Promise<RawClient> {
    const client = this.client({ username, resource: "plain" });
    await this.pass(client.login());
    client.presence();
    await this.clock.advance(20);
    return client;
  }

  async resume(client: SmClient): Promise<SmClient> {
    const back = await this.pass(SmClient.resume(this, client.identity));
    await this.clock.advance(50);
    return back;
  }

  kept(): Promise<readonly (readonly [Key, Value])[]> {
    return this.disk.afterCrash().range(KEPT, []);
  }

  /** Changes what is kept of the sessions. */
  async change(what: (snapshot: { [name: string]: Value | undefined }) => void): Promise<void> {
    this.disk = this.disk.afterCrash();
    for (const [key, value] of await this.disk.range(KEPT, ["session"])) {
      const copy = structuredClone(value) as { [name: string]: Value | undefined };
      what(copy);
      await this.disk.put(KEPT, key, copy);
    }
    await this.disk.flushed();
  }

  pass<T>(work: Promise<T>, stepMs = 1): Promise<T> {
    return timePasses(this, work, stepMs);
  }
}

const JULIET = "juliet@a.test/1";

/** What a client saw of somebody's presence, in order. */
function seen(client: RawClient, from = JULIET): string[] {
  return client.received
    .filter(({ xml }) => xml.startsWith("<presence") && xml.includes(`from="${from}"`))
    .map(({ xml }) => (xml.includes('type="unavailable"') ? "gone" : "here"));
}

function bodies(client: RawClient): string[] {
  return client.received.flatMap(({ xml }) => /<body>([^<]*)<\/body>/.exec(xml)?.slice(1) ?? []);
}

describe("sessions over a stop and a start", () => {
  let lives: Lives;
  const begin = async (resumable: "end" | "keep", config: TestConfig = {}): Promise<void> => {
    lives.config = { ...config, shutdown: { resumable } };
    await lives.start();
  };
  /** A session whose client has not acknowledged a message, and somebody who sees it and ends with the server. */
  const scene = async (): Promise<{ readonly juliet: SmClient; readonly romeo: RawClient }> => {
    const juliet = await lives.managed("juliet");
    const romeo = await lives.plain("romeo");
    juliet.answers = false;
    juliet.raw.stopReading();
    romeo.send(`<message to='${JULIET}' id='m1' type='chat'><body>m1</body></message>`);
    await lives.clock.advance(20);
    return { juliet, romeo };
  };

  beforeEach(() => {
    lives = new Lives();
  });

  afterEach(() => lives.close());

  describe('with shutdown.resumable = "end"', () => {
    beforeEach(() => begin("end"));

    it("are resumed with what waited for them, and contacts are told that they go and that they are back", async () => {
      const { juliet, romeo } = await scene();
      const report = await lives.stop();
      // Unless it was sent away first: the order is drawn by lot. What other servers see: stop-start.test.ts.
      if (seen(romeo).length > 1) assert.deepEqual(seen(romeo), ["here", "gone"]);
      assert.equal((report.sections.sessions as { kept: number }).kept, 1);
      assert.equal(report.exitCode, 0);
      await lives.start(60_000);
      assert.deepEqual([lives.server.status.hibernating, lives.server.status.resumable], [1, 1]);
      const again = await lives.plain("romeo");
      assert.deepEqual(seen(again), []);
      const back = await lives.resume(juliet);
      assert.equal(back.resumed(), 1);
      assert.deepEqual(back.bodies, ["m1"]);
      assert.deepEqual(seen(again), ["here"]);
      await lives.clock.advance(50);
      assert.deepEqual(await lives.kept(), []);
      // What the client knows of others is as it is now; that he went waited for her unless he went before her.
      assert.deepEqual(seen(back.raw, "romeo@a.test/plain").at(-1), "here");
    });

    it("get no closing tag and no stream error, and are told what was carried", async () => {
      const juliet = await lives.managed("juliet");
      juliet.message("nurse@a.test", "stored");
      await lives.clock.advance(50);
      await lives.stop();
      const end = await juliet.raw.ended;
      assert.deepEqual(
        [end.streamError, juliet.raw.received.some(({ xml }) => xml.startsWith("</"))],
        [undefined, false],
      );
      assert.match(juliet.raw.received.at(-1)?.xml ?? "", /^<a .*h='2'/);
      await lives.start();
      assert.equal((await lives.resume(juliet)).resumed(), 2);
    });

    it("are not available while they wait: messages for the account are stored, and come with the resumption", async () => {
      const { juliet } = await scene();
      await lives.stop();
      await lives.start();
      const romeo = await lives.plain("romeo");
      romeo.send("<message to='juliet@a.test' id='m2' type='chat'><body>m2</body></message>");
      romeo.send(`<message to='${JULIET}' id='m3' type='chat'><body>m3</body></message>`);
      await lives.clock.advance(100);
      const back = await lives.resume(juliet);
      assert.deepEqual(back.bodies, ["m1", "m3", "m2"]);
    });

    it("end without another goodbye when their clients do not come back, and what waited is stored", async () => {
      await scene();
      await lives.stop();
      await lives.start(10_000);
      const romeo = await lives.plain("romeo");
      await lives.clock.advance(100_000);
      assert.equal(lives.server.status.hibernating, 1);
      await lives.clock.advance(200_000);
      assert.equal(lives.server.status.hibernating, 0);
      assert.deepEqual(seen(romeo), []);
      const juliet = await lives.plain("juliet");
      assert.deepEqual(bodies(juliet), ["m1"]);
    });

    it("end at the stop when there is directed presence, because only a client can enter a room again", async () => {
      const juliet = await lives.managed("juliet");
      juliet.raw.send("<presence to='room@muc.test/juliet'/>");
      await lives.clock.advance(20);
      const report = await lives.stop();
      assert.equal((await juliet.raw.ended).streamError, "system-shutdown");
      assert.equal((report.sections.sessions as { kept: number }).kept, 0);
      await lives.start();
      // It learns all the same what had arrived.
      assert.match((await lives.resume(juliet)).answer, /^<failed .*h="2"/);
    });

    it("stay what they are when the server is stopped again before the client is back", async () => {
      const { juliet } = await scene();
      await lives.stop();
      await lives.start();
      await lives.stop();
      await lives.start();
      const romeo = await lives.plain("romeo");
      const back = await lives.resume(juliet);
      back.resumed();
      assert.deepEqual(back.bodies, ["m1"]);
      assert.deepEqual(seen(romeo), ["here"]);
    });

    it("are known as what they are to the client's next presence", async () => {
      const { juliet } = await scene();
      await lives.stop();
      await lives.start();
      const romeo = await lives.plain("romeo");
      const back = await lives.resume(juliet);
      back.raw.presence("<presence><show>away</show></presence>");
      await lives.clock.advance(50);
      assert.deepEqual(seen(romeo), ["here", "here"]);
      assert.match(romeo.received.at(-1)?.xml ?? "", /away/);
    });
  });

  describe('with shutdown.resumable = "keep"', () => {
    beforeEach(() => begin("keep"));

    it("are resumed, and contacts have heard nothing", async () => {
      const { juliet, romeo } = await scene();
      const nurse = await lives.managed("nurse");
      await lives.stop();
      assert.deepEqual(seen(romeo), ["here"]);
      await lives.start(60_000);
      const nurseAgain = await lives.resume(nurse);
      nurseAgain.resumed();
      const back = await lives.resume(juliet);
      back.resumed();
      assert.deepEqual(back.bodies, ["m1"]);
      assert.deepEqual([...seen(nurse.raw), ...seen(nurseAgain.raw)].includes("gone"), false);
      // The one that ended with the server is gone for those that did not.
      assert.deepEqual(seen(back.raw, "romeo@a.test/plain"), ["gone"]);
    });

    it("take messages while they wait, and end with one goodbye when their clients do not come back", async () => {
      await scene();
      await lives.stop();
      await lives.start(10_000);
      const romeo = await lives.plain("romeo");
      assert.deepEqual(seen(romeo), ["here"]);
      romeo.send("<message to='juliet@a.test' id='m2' type='chat'><body>m2</body></message>");
      await lives.clock.advance(295_000);
      assert.deepEqual(seen(romeo), ["here", "gone"]);
      assert.deepEqual(bodies(await lives.plain("juliet")), ["m1", "m2"]);
    });

    it("end with one goodbye at the start when it is too late", async () => {
      const nurse = await lives.managed("nurse");
      const { juliet } = await scene();
      await lives.stop();
      await lives.change((snapshot) => {
        if (snapshot.jid === JULIET) snapshot.maxMs = 5_000;
      });
      await lives.start(6_000);
      assert.equal(lives.server.status.hibernating, 1);
      assert.match((await lives.resume(juliet)).answer, /^<failed .*h="1".*item-not-found/);
      const nurseAgain = await lives.resume(nurse);
      nurseAgain.resumed();
      assert.deepEqual(seen(nurseAgain.raw), ["gone"]);
      assert.deepEqual(bodies(await lives.plain("juliet")), ["m1"]);
    });

    it("keep their directed presence: whoever got it hears the goodbye", async () => {
      const juliet = await lives.managed("juliet");
      const stranger = await lives.managed("nurse");
      await lives.server.server.rosters.importItems(Jid.of("juliet", "a.test"), [
        { jid: "nurse@a.test", subscription: "none", groups: [] },
      ]);
      juliet.raw.send("<presence to='nurse@a.test/1'/>");
      await lives.clock.advance(20);
      await lives.stop();
      await lives.start();
      const there = await lives.resume(stranger);
      const since = seen(there.raw).length;
      await lives.clock.advance(301_000);
      assert.deepEqual(seen(there.raw).slice(since), ["gone"]);
    });
  });

  describe("in either way", () => {
    it("take what comes while the server goes down", async () => {
      for (const resumable of ["end", "keep"] as const) {
        lives = new Lives();
        const late = defineModule({
          name: "late",
          load(api) {
            for (const phase of ["server-stopping", "drain-s2s"] as const satisfies readonly PhaseName[]) {
              api.phase(phase, { when: "before" }, () => api.route(chat("a.test", JULIET, phase)));
            }
          },
        });
        lives.config = { shutdown: { resumable } };
        await lives.start(0, { modules: [...MODULES, late] });
        const juliet = await lives.managed("juliet");
        await lives.stop();
        await lives.start();
        assert.deepEqual((await lives.resume(juliet)).bodies, ["server-stopping", "drain-s2s"]);
        await lives.close();
      }
    });

    it("wait for as long as agreed when the calendar was set back, and are over when it is far ahead", async () => {
      for (const [downMs, waits] of [
        [-86_400_000, 1],
        [86_400_000 * 365, 0],
      ] as const) {
        lives = new Lives();
        await begin("keep");
        await scene();
        await lives.stop();
        await lives.start(downMs);
        await lives.clock.advance(298_000);
        assert.equal(lives.server.status.hibernating, waits);
        await lives.clock.advance(5_000);
        assert.equal(lives.server.status.hibernating, 0);
        assert.deepEqual(bodies(await lives.plain("juliet")), ["m1"]);
        await lives.close();
      }
    });

    it("do not come again after a crash of the life that took them", async () => {
      await begin("end");
      const { juliet } = await scene();
      await lives.stop();
      await lives.start();
      lives.crash();
      await lives.start();
      assert.equal(lives.server.status.sessions, 0);
      assert.match((await lives.resume(juliet)).answer, /^<failed .*item-not-found/);
    });

    for (const resumable of ["end", "keep"] as const) {
      it(`lose nothing that waited for them in a crash of the life that took them (${resumable})`, async () => {
        await begin(resumable);
        const { juliet } = await scene();
        await lives.stop();
        await lives.start();
        lives.crash();
        // Nor in one of the life that ends them.
        await lives.start();
        await lives.clock.advance(100);
        lives.crash();
        await lives.start();
        await lives.clock.advance(100);
        assert.match((await lives.resume(juliet)).answer, /^<failed .*item-not-found/);
        assert.deepEqual(bodies(await lives.plain("juliet")), ["m1"]);
        await lives.clock.advance(100);
        assert.deepEqual(await lives.kept(), []);
      });

      it(`say nothing twice after a crash when they had been resumed or had ended (${resumable})`, async () => {
        await begin(resumable);
        const { juliet } = await scene();
        const nurse = await lives.managed("nurse", { enable: "resume='true' max='60'" });
        nurse.raw.stopReading();
        (await lives.plain("romeo")).send("<message to='nurse@a.test/1' type='chat'><body>m2</body></message>");
        await lives.clock.advance(100);
        await lives.stop();
        await lives.start();
        const back = await lives.resume(juliet);
        assert.deepEqual(back.bodies, ["m1"]);
        back.acknowledge();
        await lives.clock.advance(70_000);
        assert.deepEqual(bodies(await lives.plain("nurse")), ["m2"]);
        await lives.clock.advance(100);
        assert.deepEqual(await lives.kept(), []);
        lives.crash();
        await lives.start();
        assert.equal(lives.server.status.sessions, 0);
        assert.deepEqual(bodies(await lives.plain("juliet")), []);
        assert.deepEqual(bodies(await lives.plain("nurse")), []);
      });
    }

    it("are kept once more when the start fails after they were taken", async () => {
      await begin("end");
      const { juliet } = await scene();
      await lives.stop();
      const before = await lives.kept();
      const { config } = lives;
      lives.config = { ...config, c2s: { listen: ["127.0.0.1:5222", "127.0.0.1:5222"] } };
      await assert.rejects(lives.start(), /5222/);
      assert.equal((await lives.kept()).length, before.length);
      lives.config = config;
      await lives.start();
      const back = await lives.resume(juliet);
      back.resumed();
      assert.deepEqual(back.bodies, ["m1"]);
    });

    it("are left in the store when the start fails before they were taken", async () => {
      await begin("end");
      const { juliet } = await scene();
      await lives.stop();
      const broken = defineModule({
        name: "broken",
        load() {
          throw new Error("not today");
        },
      });
      await assert.rejects(lives.start(1_000, { modules: [broken] }), /not today/);
      await lives.start();
      (await lives.resume(juliet)).resumed();
    });

    it("are kept when the server is told to skip to its end, and contacts hear nothing", async () => {
      await begin("end");
      const { juliet, romeo } = await scene();
      lives.server.on("phase", ({ phase, status }) => {
        if (phase === "close-sessions" && status === "started") lives.server.server.lifecycle.skipToEnd("test");
      });
      await lives.stop();
      assert.deepEqual(seen(romeo), ["here"]);
      await lives.start();
      const back = await lives.resume(juliet);
      back.resumed();
      assert.deepEqual(back.bodies, ["m1"]);
    });

    it("end with the others when it is not a plain stop", async () => {
      await begin("keep");
      const juliet = await lives.managed("juliet");
      await lives.stop({ cause: "evacuate" });
      assert.equal((await juliet.raw.ended).streamError, "system-shutdown");
    });

    it("are those that can be resumed: others end as ever", async () => {
      await begin("keep");
      const juliet = await lives.managed("juliet", { enable: "" });
      const romeo = await lives.plain("romeo");
      await lives.stop();
      assert.equal((await juliet.raw.ended).streamError, "system-shutdown");
      assert.deepEqual(seen(romeo).slice(0, 1), ["here"]);
    });

    it("end, and say so, when they cannot be written", async () => {
      await begin("keep");
      await scene();
      lives.disk.hooks.beforeWrite = (writes) => {
        if (writes.some(({ collection }) => collection === KEPT)) throw new Error("disk full");
      };
      const report = await lives.stop();
      lives.disk.hooks.beforeWrite = undefined;
      const quit = report.phases.find(({ name }) => name === "quit");
      const failed = quit?.participants.find(({ name }) => name === "c2s");
      assert.deepEqual([failed?.outcome, report.outcome], ["failed", "incomplete"]);
      assert.match(failed?.error ?? "", /disk full/);
      assert.equal((report.sections.sessions as { kept: number }).kept, 0);
      await lives.start();
      assert.equal(lives.server.status.sessions, 0);
      assert.deepEqual(bodies(await lives.plain("juliet")), ["m1"]);
    });

    it("end at the next start, with a goodbye, when a module could not say what it holds", async () => {
      const mute = defineModule({
        name: "mute",
        load(api) {
          api.handover({ version: 1, save: () => Promise.reject(new Error("forgot")), load: () => undefined });
        },
      });
      lives.config = { shutdown: { resumable: "keep" } };
      await lives.start(0, { modules: [...MODULES, mute] });
      const nurse = await lives.managed("nurse");
      await scene();
      await lives.stop();
      await lives.start();
      assert.equal(lives.server.status.sessions, 0);
      assert.match((await lives.resume(nurse)).answer, /^<failed /);
      assert.deepEqual(bodies(await lives.plain("juliet")), ["m1"]);
    });

    it("end at the start when a module cannot take over what it had said, and it starts all the same", async () => {
      const picky = (fails: boolean) =>
        defineModule({
          name: "picky",
          load(api) {
            const load = (): void => {
              if (fails) throw new Error("not mine");
            };
            api.handover({ version: 1, save: () => 1, load });
          },
        });
      lives.config = { shutdown: { resumable: "keep" } };
      await lives.start(0, { modules: [...MODULES, picky(false)] });
      await scene();
      await lives.stop();
      await lives.start(1_000, { modules: [...MODULES, picky(true)] });
      assert.equal(lives.server.status.sessions, 0);
      assert.deepEqual(bodies(await lives.plain("juliet")), ["m1"]);
    });

    it("go on when a module is not loaded any more", async () => {
      const gone = defineModule({
        name: "gone",
        load(api) {
          api.handover({ version: 1, save: () => 1, load: () => undefined });
        },
      });
      lives.config = {};
      await lives.start(0, { modules: [...MODULES, gone] });
      const { juliet } = await scene();
      await lives.stop();
      await lives.start();
      (await lives.resume(juliet)).resumed();
    });

    it("end when their account was removed meanwhile, and messages go back to who wrote them", async () => {
      await begin("keep");
      await scene();
      const nurse = await lives.managed("nurse");
      nurse.message(JULIET, "m2");
      await lives.clock.advance(50);
      await lives.stop();
      lives.disk = lives.disk.afterCrash();
      await lives.disk.delete("accounts", ["a.test", "juliet"]);
      await lives.disk.flushed();
      await lives.start();
      assert.equal(lives.server.status.hibernating, 1);
      const back = await lives.resume(nurse);
      back.resumed();
      assert.ok(back.raw.received.some(({ xml }) => /type="error".*service-unavailable/.test(xml)));
    });

    it("have no place when their host is not served any more, and messages go back to who wrote them", async () => {
      lives.config = { hosts: [{ name: "a.test" }, { name: "old.test" }], shutdown: { resumable: "keep" } };
      await lives.start();
      await lives.server.addAccount("juliet@old.test");
      const juliet = await lives.pass(SmClient.start(lives, "juliet", "1", { domain: "old.test" }));
      juliet.answers = false;
      juliet.raw.stopReading();
      const nurse = await lives.managed("nurse");
      nurse.message("juliet@old.test/1", "m1");
      await lives.clock.advance(50);
      await lives.stop();
      lives.config = { shutdown: { resumable: "keep" } };
      await lives.start();
      assert.equal(lives.server.status.hibernating, 1);
      const back = await lives.resume(nurse);
      back.resumed();
      assert.ok(back.raw.received.some(({ xml }) => /id="m1".*service-unavailable/.test(xml)));
    });

    it("are no more than today's bounds allow: those that have waited the longest end", async () => {
      await begin("end");
      const clients: SmClient[] = [];
      for (const name of ACCOUNTS) {
        const client = await lives.managed(name);
        client.raw.reset();
        await lives.clock.advance(2_000);
        clients.push(client);
      }
      await lives.stop();
      lives.config = { c2s: { sm_max_hibernating: 2 } };
      await lives.start();
      assert.equal(lives.server.status.hibernating, 2);
      assert.match((await lives.resume(clients[0] as SmClient)).answer, /^<failed/);
      (await lives.resume(clients[2] as SmClient)).resumed();
    });

    it("end when they are damaged, with the goodbye and the messages that can be read", async () => {
      for (const [what, damage] of [
        ["counter", (snapshot: { [name: string]: Value | undefined }) => (snapshot.handled = -1)],
        ["presence", (snapshot: { [name: string]: Value | undefined }) => (snapshot.presence = "<presence")],
      ] as const) {
        lives = new Lives();
        await begin("keep");
        const nurse = await lives.managed("nurse");
        await scene();
        await lives.stop();
        await lives.change((snapshot) => {
          if (snapshot.jid === JULIET) damage(snapshot);
        });
        await lives.start();
        assert.equal(lives.server.status.hibernating, 1, what);
        const back = await lives.resume(nurse);
        assert.deepEqual(seen(back.raw), ["gone"], what);
        assert.deepEqual(bodies(await lives.plain("juliet")), ["m1"], what);
        await lives.close();
      }
    });

    it("are dropped when nothing of them can be read, and the server starts", async () => {
      await begin("keep");
      await scene();
      await lives.stop();
      await lives.change((snapshot) => {
        for (const name of Object.keys(snapshot)) delete snapshot[name];
      });
      await lives.start();
      assert.equal(lives.server.status.sessions, 0);
      assert.deepEqual(await lives.kept(), []);
    });

    it("end when the format is one of another version", async () => {
      await begin("keep");
      await scene();
      await lives.stop();
      lives.disk = lives.disk.afterCrash();
      await lives.disk.put(KEPT, ["head"], { version: 99, savedAt: 0, resumable: true });
      await lives.disk.flushed();
      await lives.start();
      assert.equal(lives.server.status.sessions, 0);
      assert.deepEqual(bodies(await lives.plain("juliet")), ["m1"]);
    });
  });
});
