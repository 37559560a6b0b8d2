// Suspending as operators do it, with real processes: the commands and what they say, a start that comes up suspended, and a
// restart and a stop of a server that is suspended.

import assert from "node:assert/strict";
import type { SuspendReport } from "../../../src/shutdown/suspend-types.ts";
import { Generations } from "../../support/generations.ts";
import { SmClient } from "../../support/sm-client.ts";
import { waitUntil } from "../../support/wire.ts";

const both = (jid: string) => [{ jid, subscription: "both" }];
const ACCOUNTS = [
  { jid: "romeo@a.test", roster: both("juliet@a.test") },
  { jid: "juliet@a.test", roster: both("romeo@a.test") },
];
const PRESENCE = /^<presence/;

describe("morendo suspend", function () {
  this.timeout(120_000);
  let generations: Generations;
  afterEach(() => generations.end());

  /** `morendo ARGS` with the server's configuration. */
  function morendo(...args: readonly string[]) {
    return generations.command(...args, "--config", generations.path("morendo.toml"));
  }

  async function logIn(resource: string) {
    const client = generations.client({ username: "romeo", resource });
    await client.login();
    return client;
  }

  it("suspends and resumes, says so everywhere, and ends with 1 when it did not", async () => {
    generations = await Generations.start({ accounts: ACCOUNTS });
    const idle = await morendo("resume");
    assert.deepEqual([idle.code, idle.output], [1, "morendo: not resumed: the server is running\n"]);
    const suspended = await morendo("suspend", "--reason", "a backup", "--timeout", "20s");
    assert.equal(suspended.code, 0, suspended.output);
    assert.match(suspended.output, /^suspended in mode hold, in /);
    const status = await morendo("status");
    assert.match(status.output, /: suspended \(pid/);
    assert.match(status.output, /suspended {2}mode hold, since \S+: a backup/);
    const again = await morendo("suspend", "--json");
    const report = JSON.parse(again.output) as SuspendReport;
    assert.deepEqual([again.code, report.suspended, report.reason], [0, true, "a backup"]);
    assert.deepEqual(
      report.participants.filter(({ step }) => step === "suspend").map(({ name, outcome }) => `${name} ${outcome}`),
      ["c2s done", "s2s done", "presence done", "timers of modules done", "store done"],
    );
    const other = await morendo("suspend", "--mode", "refuse");
    assert.equal(other.code, 1);
    assert.match(other.output, /not suspended: the server is suspended in mode "hold"; resume it first/);
    const resumed = await morendo("resume", "--reason", "done");
    assert.deepEqual([resumed.code, resumed.output], [0, "resumed: the server serves as before\n"]);
    const after = await generations.status();
    assert.equal(after?.state, "running");
    assert.equal(after?.suspension, undefined);
    assert.equal(after?.lastSuspension?.ended?.reason, "done");
    for (const wrong of [
      ["--mode", "sleep"],
      ["--timeout", "soon"],
      ["--on-timeout", "maybe"],
    ]) {
      assert.equal((await morendo("suspend", ...wrong)).code, 2, wrong.join(" "));
    }
    (await logIn("orchard")).destroy();
  });

  it("can be what a start ends in: bound, and nobody is let in until the resume", async () => {
    generations = await Generations.launch({ accounts: ACCOUNTS, args: ["--suspended"] });
    const status = await generations.until((now) => now?.state === "suspended");
    assert.equal(status?.listening.length, 3);
    assert.equal(status?.suspension?.trigger, "start --suspended");
    let jid = "";
    const login = logIn("orchard").then((client) => {
      jid = client.jid;
      return client;
    });
    const asked = await generations.status();
    assert.deepEqual([jid, asked?.sessions, asked?.connections], ["", 0, 0]);
    assert.equal((await morendo("resume")).code, 0);
    const client = await login;
    assert.equal(jid, "romeo@a.test/orchard");
    client.destroy();
  });

  it("goes on in the successor when the server is restarted, and sessions can be resumed after it", async () => {
    generations = await Generations.start({ accounts: ACCOUNTS });
    const juliet = await SmClient.start(generations, "juliet", "balcony");
    juliet.raw.presence();
    await juliet.raw.waitFor((xml) => PRESENCE.test(xml));
    const plain = await logIn("orchard");
    assert.equal((await morendo("suspend", "--reason", "a new disk")).code, 0);
    const before = await generations.status();
    juliet.raw.send("<message to='juliet@a.test/balcony'><body>sent while suspended</body></message>");
    const restarted = await generations.restart();
    assert.equal(restarted.code, 0, restarted.output);
    const after = await generations.until((now) => now?.state === "suspended" && now.pid !== before?.pid);
    assert.equal(after?.suspension?.mode, "hold");
    assert.equal(after?.suspension?.reason, "a new disk");
    assert.equal(after?.hibernating, 1);
    assert.equal((await plain.ended).streamError, "system-shutdown");
    await juliet.raw.ended;
    const back = SmClient.resume(generations, juliet.identity);
    assert.equal((await generations.status())?.hibernating, 1, "it was let in");
    assert.equal((await morendo("resume")).code, 0);
    const resumed = await back;
    assert.match(resumed.answer, /^<resumed/);
    // Restarted once more, it is not suspended.
    const again = await generations.restart();
    assert.equal(again.code, 0, again.output);
    await generations.until((now) => now?.state === "running" && now.pid !== after?.pid);
    resumed.raw.destroy();
  });

  it("is taken back when the successor fails: this server is suspended as before", async () => {
    generations = await Generations.start({ accounts: ACCOUNTS });
    const plain = await logIn("orchard");
    assert.equal((await morendo("suspend")).code, 0);
    generations.configure({ module: "throw at handover" });
    const before = await generations.status();
    const restarted = await generations.restart();
    assert.equal(restarted.code, 1, restarted.output);
    const after = await generations.status();
    assert.deepEqual([after?.state, after?.pid], ["suspended", before?.pid]);
    const ping = plain.iq("get", "<ping xmlns='urn:xmpp:ping'/>");
    let isAnswered = false;
    void ping.then(() => {
      isAnswered = true;
    });
    await generations.status();
    assert.equal(isAnswered, false, "a failed restart has let go of what the suspension holds");
    assert.equal((await morendo("resume")).code, 0);
    await ping;
    assert.equal((await plain.close()).streamError, undefined);
  });

  it("ends with a stop: what clients had sent meanwhile is handled first", async () => {
    generations = await Generations.start({ accounts: ACCOUNTS });
    const romeo = await logIn("orchard");
    assert.equal((await morendo("suspend")).code, 0);
    for (let index = 0; index < 20; index++) {
      romeo.send(`<message to='juliet@a.test' type='chat'><body>last words ${index}</body></message>`);
    }
    const stopped = await morendo("stop", "--json");
    assert.equal(stopped.code, 0, stopped.output);
    assert.equal((await romeo.ended).streamError, "system-shutdown");
    const suspension = generations.report()?.sections.suspension as SuspendReport | undefined;
    assert.match(suspension?.ended?.reason ?? "", /^stop: /);
    await generations.startAgain();
    const juliet = generations.client({ username: "juliet", resource: "balcony" });
    await juliet.login();
    juliet.presence();
    await juliet.waitFor((xml) => xml.includes("last words 19"));
    const got = juliet.received.filter(({ xml }) => xml.includes("last words"));
    assert.equal(got.length, 20);
    juliet.destroy();
  });

  it("ends with a stop in mode refuse, too, and with a cancelled one the server is not suspended any more", async () => {
    generations = await Generations.start({
      accounts: ACCOUNTS,
      settings: { extra: '[shutdown]\ndelay = "1m"\n' },
    });
    assert.equal((await morendo("suspend", "--mode", "refuse")).code, 0);
    const stopping = morendo("stop");
    await generations.until((status) => status?.state === "stopping");
    const cancelled = await morendo("cancel");
    assert.equal(cancelled.code, 0, cancelled.output);
    assert.match(cancelled.output, /was suspended before the stop, and is not any more/);
    assert.equal((await stopping).code, 1);
    assert.equal((await generations.status())?.state, "running");
    const client = await logIn("orchard");
    await waitUntil(() => client.jid !== "", "somebody is let in");
    client.destroy();
  });
});
