// The same from everywhere: whatever an operator asks for, by whatever door, has the same result, seen by a client, by a contact
// at another server, by the states that the server goes through, by its report and its exit code.

import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { connect } from "node:net";
import { Jid } from "../../../src/jid/jid.ts";
import {
  type Answer,
  adHoc,
  commandLine,
  type Door,
  http,
  httpBase,
  signals,
  type Wish,
} from "../../support/doors/door.ts";
import { EmbeddedScene } from "../../support/doors/embedded-scene.ts";
import { ProcessScene } from "../../support/doors/process-scene.ts";
import { presenceOfRomeo, type Scene } from "../../support/doors/scene.ts";
import { waitUntil } from "../../support/wire.ts";

/** A scene with one of the doors to it. */
interface Stage {
  readonly scene: Scene;
  ask(wish: Wish): Promise<Answer>;
  end(): Promise<void>;
}

/** A door as the table has it. */
interface Way {
  readonly name: string;
  /** What the report says of who asked. */
  readonly trigger: RegExp;
  /** Why it has no way to do something, if so. */
  lacks(operation: string): string | undefined;
  open(): Promise<Stage>;
}

const byProcess = (door: Door, trigger: RegExp): Way => ({
  name: door.name,
  trigger,
  lacks: (operation) => door.lacks(operation),
  async open() {
    const scene = await ProcessScene.start();
    return { scene, ask: (wish) => door.ask(scene, wish), end: () => scene.end() };
  },
});

const embedded: Way = {
  name: "the server's own methods",
  trigger: /^program$/,
  lacks: (operation) => (operation in NO_METHOD ? NO_METHOD[operation] : undefined),
  async open() {
    const scene = await EmbeddedScene.start();
    return { scene, ask: (wish) => scene.ask(wish), end: () => scene.end() };
  },
};

const NO_METHOD: Readonly<Record<string, string>> = {
  reload: "a program that embeds the server hands it the configuration: Server.reload(config), test/unit/server",
  restart: "a program that embeds the server has to say what its successor is: test/integration/handover",
};

const WAYS: readonly Way[] = [
  byProcess(signals, /^SIG/),
  byProcess(commandLine, /^control socket/),
  byProcess(adHoc(), /^ad-hoc command \(admin@a\.test\)$/),
  byProcess(http(), /^HTTP \(operator\)$/),
  embedded,
];

/** What there is to see of a run of the pipeline that went to its end. */
async function ending({ scene }: Stage, seenBefore: number, statesBefore = 1): Promise<object> {
  const { streamError, closingTag, how } = await scene.romeo.ended;
  const exitCode = await scene.exitCode();
  const { cause, outcome, phases = [], exitCode: reported } = scene.report() ?? {};
  return {
    client: { streamError, closingTag, how },
    contact: presenceOfRomeo(scene, seenBefore),
    states: scene.states.slice(statesBefore).filter((state) => state !== "stopped"),
    exitCode,
    report: {
      cause,
      outcome,
      exitCode: reported,
      done: phases.filter((phase) => phase.outcome === "done").map(({ name }) => name),
    },
  };
}

/** Half a minute, which nobody waits for: it ends early. It is the shortest delay that XEP-0133 has. */
const DELAYED = { delayMs: 30_000, announcement: "Moving house" };

const PHASES = ["stop-accepting", "close-sessions", "server-stopping", "drain-s2s", "quit"];

/** What everybody sees of a stop. */
const STOPPED = {
  client: { streamError: "system-shutdown", closingTag: true, how: "fin" },
  contact: ["unavailable"],
  states: ["stopping"],
  exitCode: 0,
  report: { cause: "stop", outcome: "clean", exitCode: 0, done: PHASES },
};

for (const way of WAYS) {
  describe(`by ${way.name}`, function () {
    this.timeout(90_000);
    let stage: Stage;

    const ask = async (operation: string, args: Wish["args"] = {}): Promise<unknown> => {
      const answer = await stage.ask({ operation, args });
      if (!answer.done) assert.fail(`${operation}: ${answer.why}`);
      return answer.result;
    };
    /** Declares a test, or says why this door has none. */
    const can = (operation: string, what: string, test: () => Promise<void>): void => {
      const lack = way.lacks(operation);
      if (lack === undefined) it(what, test);
      else it(`has no way to ${operation}: ${lack}`, async () => assert.ok(!(await stage.ask({ operation })).done));
    };
    const login = async (username: string, password?: string): Promise<"in" | "refused"> => {
      const client = stage.scene.client({ username, ...(password === undefined ? {} : { password }) });
      try {
        await client.login();
        await client.close();
        return "in";
      } catch {
        return "refused";
      } finally {
        client.destroy();
      }
    };

    describe("while it serves", () => {
      before(async () => {
        stage = await way.open();
      });
      after(() => stage?.end());
      // Whatever was asked for: nobody lost a connection, and it serves as before.
      afterEach(async () => {
        if (stage.scene.report()?.cause === "stop" && stage.scene.report()?.outcome === "clean") return;
        const { romeo } = stage.scene;
        assert.match(
          await romeo.iq("get", "<ping xmlns='urn:xmpp:ping'/>", "a.test"),
          /type="result"/,
          "Romeo is there",
        );
        assert.equal((await stage.scene.status())?.state, "running");
      });

      can("user.add", "adds, changes and removes a user", async () => {
        await ask("user.add", { jid: "nurse@a.test", password: "one" });
        assert.equal(await login("nurse", "one"), "in");
        assert.ok(!(await stage.ask({ operation: "user.add", args: { jid: "nurse@a.test", password: "x" } })).done);
        await ask("user.passwd", { jid: "nurse@a.test", password: "two" });
        assert.equal(await login("nurse", "one"), "refused");
        const nurse = stage.scene.client({ username: "nurse", password: "two" });
        await nurse.login();
        await ask("user.remove", { jid: "nurse@a.test" });
        assert.equal((await nurse.ended).streamError, "not-authorized");
        assert.equal(await login("nurse", "two"), "refused");
      });

      can("session.list", "tells who is online", async () => {
        const juliet = stage.scene.client({ username: "juliet" });
        await juliet.login();
        juliet.presence();
        await juliet.waitFor((xml) => xml.startsWith("<presence"));
        assert.deepEqual(online(await ask("session.list")), ["juliet@a.test", "romeo@a.test"]);
        await juliet.close();
      });

      can("suspend", "suspends, letting nobody new in, and resumes", async () => {
        const since = stage.scene.states.length;
        await ask("suspend", { mode: "refuse" });
        await waitUntil(() => stage.scene.states.at(-1) === "suspended", "the server to be suspended");
        const { romeo } = stage.scene;
        assert.match(await romeo.iq("get", "<ping xmlns='urn:xmpp:ping'/>", "a.test"), /type="result"/);
        assert.equal(await login("juliet"), "refused");
        await resume();
        await waitUntil(() => stage.scene.states.at(-1) === "running", "the server to run");
        assert.deepEqual(stage.scene.states.slice(since), ["suspending", "suspended", "running"]);
        assert.equal(await login("juliet"), "in");
      });

      can("suspend", "suspends, holding everything, and resumes", async () => {
        const since = stage.scene.states.length;
        const { romeo, peer } = stage.scene;
        const seen = peer.stanzas.length;
        await ask("suspend", { mode: "hold" });
        await waitUntil(() => stage.scene.states.at(-1) === "suspended", "the server to be suspended");
        const pong = romeo.iq("get", "<ping xmlns='urn:xmpp:ping'/>", "a.test");
        const early = await Promise.race([pong, new Promise((resolve) => setTimeout(() => resolve("nothing"), 100))]);
        assert.equal(early, "nothing");
        await resume();
        assert.match(await pong, /type="result"/);
        await waitUntil(() => stage.scene.states.at(-1) === "running", "the server to run");
        assert.deepEqual(stage.scene.states.slice(since), ["suspending", "suspended", "running"]);
        assert.deepEqual(presenceOfRomeo(stage.scene, seen), []);
      });

      can("announce", "announces something to everybody who is online", async () => {
        const juliet = stage.scene.client({ username: "juliet" });
        await juliet.login();
        juliet.presence();
        await juliet.waitFor((xml) => xml.startsWith("<presence"));
        await ask("announce", { text: "Tea is ready" });
        for (const client of [stage.scene.romeo, juliet]) {
          const { xml } = await client.waitFor((received) => received.includes("Tea is ready"));
          assert.match(xml, /^<message [^>]*type="headline"/);
        }
        await juliet.close();
      });

      can("cancel", "stops after a delay that is announced, and cancels it", async () => {
        const { scene } = stage;
        const { romeo, states, peer } = scene;
        const [since, seen, heard] = [states.length, peer.stanzas.length, romeo.received.length];
        const asked = stage.ask({ operation: "stop", args: DELAYED });
        await romeo.waitFor((xml) => xml.includes("Moving house"), { since: heard });
        await waitUntil(() => states.at(-1) === "stopping", "the stop to be under way");
        const late = scene.client({ username: "juliet" });
        await late.login();
        late.presence();
        await late.waitFor((xml) => xml.includes("Moving house"));
        const told = romeo.received.length;
        await ask("cancel");
        await romeo.waitFor((xml) => xml.startsWith("<message"), { since: told });
        await waitUntil(() => states.at(-1) === "running", "the server to run again");
        assert.deepEqual(states.slice(since), ["stopping", "running"]);
        assert.deepEqual(presenceOfRomeo(scene, seen), []);
        await late.close();
        assert.equal(await login("juliet"), "in");
        await asked;
      });

      can("reload", "reloads the configuration, or says what is wrong with it and leaves all as it is", async () => {
        const scene = stage.scene as ProcessScene;
        const guest = adHoc("guest");
        const list: Wish = { operation: "session.list" };
        assert.ok(!(await guest.ask(scene, list)).done);
        scene.configure(["status", "session.list"]);
        await ask("reload");
        await waitUntilAsync(async () => (await guest.ask(scene, list)).done, "the guest's new right");
        scene.configure(["dance"]);
        const answer = await stage.ask({ operation: "reload" });
        // A signal has no answer; that it was seen is in the log.
        if (way.name === signals.name)
          await scene.generations.process.until(() => /dance/.test(scene.generations.process.log), "the error");
        else assert.ok(!answer.done);
        assert.ok((await guest.ask(scene, list)).done);
        // The command line reads the same file.
        scene.configure(["status"]);
      });

      can("stop", "stops", async () => {
        const seen = stage.scene.peer.stanzas.length;
        const before = stage.scene.states.length;
        const [, observed] = await Promise.all([ask("stop"), ending(stage, seen, before)]);
        assert.deepEqual(observed, STOPPED);
        assert.match(stage.scene.report()?.trigger ?? "", way.trigger);
      });

      /** By the same door, but for one that is shut by what is to be resumed. */
      async function resume(): Promise<void> {
        if (way.name !== adHoc().name) await ask("resume");
        else assert.ok((await commandLine.ask(stage.scene as ProcessScene, { operation: "resume" })).done);
      }
    });

    describe("another one", () => {
      before(async () => {
        stage = await way.open();
      });
      after(() => stage?.end());

      can("restart", "restarts", async () => {
        const scene = stage.scene as ProcessScene;
        const { pid } = (await scene.status()) ?? {};
        const seen = scene.peer.stanzas.length;
        const [, observed] = await Promise.all([ask("restart"), ending(stage, seen)]);
        assert.deepEqual(observed, { ...STOPPED, report: { ...STOPPED.report, cause: "restart" } });
        assert.match(scene.report()?.trigger ?? "", way.trigger);
        const status = await scene.status();
        assert.equal(status?.state, "running");
        assert.notEqual(status?.pid, pid);
        assert.equal(await login("juliet"), "in");
        await scene.comeBack();
      });

      can("evacuate", "lets everybody leave, keeps others out, and resumes", async () => {
        const { romeo, peer, states } = stage.scene;
        const seen = peer.stanzas.length;
        const [, { streamError, closingTag }] = await Promise.all([ask("evacuate"), romeo.ended]);
        assert.deepEqual({ streamError, closingTag }, { streamError: "resource-constraint", closingTag: true });
        await peer.until(() => presenceOfRomeo(stage.scene, seen).length > 0, "that Romeo has gone");
        assert.deepEqual(presenceOfRomeo(stage.scene, seen), ["unavailable"]);
        await waitUntil(() => states.at(-1) === "suspended", "the server to be suspended");
        assert.equal(await login("juliet"), "refused");
        await ask("resume");
        await waitUntil(() => states.at(-1) === "running", "the server to run");
        assert.equal(await login("juliet"), "in");
        await stage.scene.comeBack();
      });

      can("delay", "stops after a delay that is announced, and at once when nobody is left", async () => {
        const { romeo, peer } = stage.scene;
        const seen = peer.stanzas.length;
        const asked = ask("stop", DELAYED);
        const { xml } = await romeo.waitFor((received) => received.includes("Moving house"));
        assert.match(xml, /^<message [^>]*type="headline"/);
        await romeo.close();
        const [, observed] = await Promise.all([asked, ending(stage, seen)]);
        assert.deepEqual(observed, {
          ...STOPPED,
          client: { ...STOPPED.client, streamError: undefined },
          report: { ...STOPPED.report, done: ["announce", ...PHASES] },
        });
        assert.match(stage.scene.report()?.trigger ?? "", way.trigger);
      });
    });
  });
}

async function waitUntilAsync(holds: () => Promise<boolean>, what: string): Promise<void> {
  const limit = performance.now() + 15_000;
  while (!(await holds())) if (performance.now() > limit) throw new Error(`waited in vain for ${what}`);
}

/** Who may not is told so, and whatever cannot be understood is refused, in a way that the door's users know. */
describe("at every door", function () {
  this.timeout(90_000);
  let scene: ProcessScene;
  before(async () => {
    scene = await ProcessScene.start();
  });
  after(() => scene?.end());
  afterEach(async () => {
    assert.deepEqual(scene.states, ["running"], "nothing has changed");
    assert.match(await scene.romeo.iq("get", "<ping xmlns='urn:xmpp:ping'/>", "a.test"), /type="result"/);
  });

  const socket = async (line: string): Promise<string> =>
    await overSocket(scene.generations.path("data/control.sock"), line);
  const post = async (path: string, body: string, token = tokenOf(scene)): Promise<number> => {
    const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
    return (await fetch(`${await httpBase(scene)}${path}`, { method: "POST", headers, body })).status;
  };

  it("refuses whoever has no right to it", async () => {
    for (const operation of ["stop", "restart", "suspend", "user.add"]) {
      const wish = { operation, args: { jid: "x@a.test", password: "x" } };
      assert.deepEqual(await adHoc("guest").ask(scene, wish), { done: false, why: "forbidden" });
      assert.deepEqual(await adHoc("juliet").ask(scene, wish), { done: false, why: "forbidden" });
      assert.deepEqual(await http("guest").ask(scene, { operation }), { done: false, why: "403 MORENDO_NOT_ALLOWED" });
      assert.deepEqual(await http("nobody").ask(scene, { operation }), { done: false, why: "401 MORENDO_NO_TOKEN" });
    }
    assert.equal(await post("/api/stop", "{}", "a-token-that-nobody-has-made"), 401);
    assert.equal(statSync(scene.generations.path("data/control.sock")).mode & 0o777, 0o600);
    assert.match(scene.generations.process.log, /a command was refused/);
  });

  it("refuses what there is not", async () => {
    assert.match(await socket('{"id":1,"action":"dance"}'), /"ok":false.*MORENDO_UNKNOWN_ACTION/);
    assert.equal((await scene.command("dance")).code, 2);
    assert.deepEqual(await http().ask(scene, { operation: "dance" }), {
      done: false,
      why: "404 MORENDO_UNKNOWN_ACTION",
    });
    assert.deepEqual(await adHoc().ask(scene, { operation: "dance" }), { done: false, why: "item-not-found" });
  });

  it("refuses what is asked for in the wrong form", async () => {
    assert.match(await socket('{"id":1,"action":"stop","args":{"reason":5}}'), /MORENDO_BAD_ARGUMENTS/);
    assert.match(await socket('{"id":1,"action":"stop","args":{"now":true}}'), /MORENDO_BAD_ARGUMENTS/);
    assert.match(await socket("stop"), /MORENDO_BAD_REQUEST/);
    assert.equal((await scene.command("stop", "--delay", "soon")).code, 2);
    assert.equal(await post("/api/stop", '{"reason":5}'), 400);
    assert.equal(await post("/api/stop", "stop"), 400);
    const delay = { operation: "stop", args: { delayMs: 61_000 } };
    assert.deepEqual(await adHoc().ask(scene, delay), { done: false, why: "bad-request" });
  });

  it("refuses a step of a command that is over or was never begun", async () => {
    const admin = scene.client({ username: "admin" });
    await admin.login();
    const step = (attrs: string): Promise<string> => {
      const node = "http://jabber.org/protocol/admin#shutdown";
      const form = "<x xmlns='jabber:x:data' type='submit'/>";
      const command = `<command xmlns='http://jabber.org/protocol/commands' node='${node}' ${attrs}>${form}</command>`;
      return admin.iq("set", command, "a.test");
    };
    const session = /sessionid="[^"]*"/.exec(await step("action='execute'"))?.[0] ?? "";
    assert.match(await step(`${session} action='cancel'`), /canceled/);
    assert.match(await step(`${session} action='complete'`), /<session-expired /);
    assert.match(await step("sessionid='x' action='complete'"), /<bad-sessionid /);
    await admin.close();
  });

  it("refuses what is too large", async () => {
    const large = "x".repeat(2 * 1024 * 1024);
    assert.match(await socket(`{"id":1,"action":"stop","args":{"reason":"${large}"}}`), /MORENDO_BAD_REQUEST/);
    assert.equal(await post("/api/stop", JSON.stringify({ reason: large })), 413);
    const admin = scene.client({ username: "admin" });
    await admin.login();
    admin.send(`<iq type='set' id='1' to='a.test'><command xmlns='x'>${large}</command></iq>`);
    assert.equal((await admin.ended).streamError, "policy-violation");
  });
});

function tokenOf(scene: ProcessScene): string {
  return readFileSync(scene.generations.path("data/http-token"), "utf8").trim();
}

/** Writes a line to the control socket and returns the first that comes back. */
function overSocket(path: string, line: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(path, () => socket.write(`${line}\n`));
    let received = "";
    socket.setEncoding("utf8").on("data", (text: string) => {
      received += text;
      if (!received.includes("\n")) return;
      resolve(received);
      socket.destroy();
    });
    // The server closes without reading the rest of what is too large; its answer has come before.
    socket.on("error", (error) => (received === "" ? reject(error) : undefined));
    socket.on("close", () => reject(new Error(`closed after ${JSON.stringify(received)}`)));
  });
}

/** The accounts that are online, however the door says it. */
function online(result: unknown): string[] {
  const found = new Set<string>();
  const look = (value: unknown): void => {
    if (typeof value === "string") {
      const jid = Jid.parse(value);
      if (jid !== undefined && jid.local !== "") found.add(jid.bare.toString());
    } else if (Array.isArray(value)) value.forEach(look);
    else if (typeof value === "object" && value !== null) {
      const { sessions, jid, show } = value as {
        readonly sessions?: unknown;
        readonly jid?: unknown;
        readonly show?: string;
      };
      if (show !== "none") look(jid);
      look(sessions);
    }
  };
  look(result);
  return [...found].sort();
}
