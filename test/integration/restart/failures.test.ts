// Restarts of the real server that fail, in every way we could think of: who serves afterwards, what whoever asked for it is
// told, and that clients and their contacts noticed nothing. Faults come from the successor's program, its configuration
// and a module of the tests; restarts that succeed are tested elsewhere.

import assert from "node:assert/strict";
import { symlinkSync, unlinkSync } from "node:fs";
import { createServer } from "node:net";
import { freePort } from "../../support/addresses.ts";
import { ACCOUNTS, Conversation, canLogIn } from "../../support/conversation.ts";
import { Generations, HANDOVER, type Settings } from "../../support/generations.ts";
import { SmClient } from "../../support/sm-client.ts";

interface Failure {
  /** What is wrong: the end of the sentence "a restart whose successor …". */
  readonly what: string;
  readonly program?: string;
  readonly settings?: Settings;
  /** What the command says. */
  readonly says: RegExp;
}

const WRONG_VERSION = `
  const { inheritance, systemClock } = await import(${JSON.stringify(HANDOVER)});
  const inherited = inheritance({ environment: process.env, clock: systemClock });
  const read = (value) => value;
  await inherited?.receiveState({ sessions: { versions: [99], required: true, read }, modules: { versions: [1], read } });`;

describe("a restart of the real server whose successor", function () {
  this.timeout(180_000);
  let generations: Generations | undefined;
  afterEach(() => generations?.end());

  /** Lets a restart fail, and looks at everything that should be as before. */
  async function fail(
    scene: Generations,
    talk: Conversation,
    { what, program, settings, says }: Failure,
  ): Promise<void> {
    const before = { status: await scene.status(), files: scene.files, mark: talk.mark };
    const pid = before.status?.pid ?? 0;
    await talk.say();
    scene.program(program);
    scene.configure(settings);
    const restart = scene.restart();
    const meanwhile = talk.send();
    const { code, output } = await restart;
    const told = `${what}: exit code ${code}: ${output}`;
    assert.equal(code, 1, told);
    assert.match(output, says, told);
    assert.match(output, new RegExp(`not restarted, process ${pid} goes on`), told);
    scene.program();
    scene.configure();
    await talk.juliet.got(meanwhile);
    await talk.say();
    talk.complete(before.mark);
    await canLogIn(scene);
    await scene.alone(pid);
    await scene.haveFiles(before.files, `${what}: files`);
    const status = await scene.status();
    assert.deepEqual({ ...status, s2s: 0 }, { ...before.status, s2s: 0 }, `${what}: status`);
  }

  /** After all that a restart works, and both conversations go on. */
  async function succeed(scene: Generations, talk: Conversation): Promise<void> {
    const mark = talk.mark;
    const { pid = 0 } = (await scene.status()) ?? {};
    await talk.say();
    const { code, output } = await scene.restart();
    assert.equal(code, 0, output);
    assert.match(
      output,
      /^\[a new process is started\]\n\[it starts up;[\s\S]*\n\[the new process begins to serve\]$/m,
    );
    const successor = Number(/process (\d+) serves in place of (\d+)/.exec(output)?.[1]);
    await scene.alone(successor);
    assert.notEqual(successor, pid);
    const after = talk.complete.bind(talk, mark);
    after();
    await talk.resume();
    await talk.say();
    talk.complete();
    assert.equal((await scene.status())?.pid, successor);
  }

  it("fails in any way leaves the predecessor serving, nothing lost, and whoever asked told why", async () => {
    const taken = createServer();
    const port = await freePort();
    await new Promise<void>((resolve) => taken.listen(port, "127.0.0.1", resolve));
    const failures: readonly Failure[] = [
      { what: "throws at once", program: 'fault("now", "throw");', says: /thrown on purpose.*step hello/s },
      { what: "is a program with a syntax error", program: "this is no program", says: /SyntaxError/ },
      { what: "is killed as the state comes", program: 'fault("state", "kill");', says: /killed by SIGKILL/ },
      {
        what: "throws as the state comes",
        program: 'fault("state", "throw");',
        says: /thrown on purpose|told to stop/,
      },
      { what: "exits when it has the state", program: 'fault("state-end", "exit");', says: /ended with exit code 7/ },
      {
        what: "is killed after the consent",
        program: 'fault("commit", "kill");',
        says: /killed by SIGKILL.*step serving/s,
      },
      {
        what: "throws after the consent",
        program: 'fault("commit", "throw");',
        says: /thrown on purpose|told to stop/,
      },
      {
        what: "is told to stop while it loads its modules",
        settings: { module: "terminate at load" },
        says: /told to stop: received SIGTERM/,
      },
      {
        what: "is told to stop when it has the state",
        settings: { module: "terminate at handover" },
        says: /told to stop: received SIGTERM/,
      },
      {
        what: "is told to stop at once",
        program: 'fault("now", "terminate");',
        says: /killed by SIGTERM|told to stop/,
      },
      {
        what: "reads another version of the state",
        program: WRONG_VERSION,
        says: /state sessions is written in version 1, .*reads version 99/,
      },
      { what: "cannot parse its configuration", settings: { top: "[[" }, says: /morendo\.toml/ },
      { what: "does not know an option", settings: { top: "dato = 1" }, says: /dato: there is no such option/ },
      { what: "has wrong options for a module", settings: { module: "badly" }, says: /faulty-handover/ },
      {
        what: "has a module that fails to load",
        settings: { module: "throw at load" },
        says: /module "faulty-handover" failed to load: thrown on purpose/,
      },
      {
        what: "has a module that cannot take over",
        settings: { module: "throw at handover" },
        says: /module "faulty-handover" could not take over .*: thrown on purpose/,
      },
      { what: "cannot have a port", settings: { listen: [`127.0.0.1:${port}`] }, says: /c2s\.listen/ },
      {
        what: "does not serve the host of a session",
        settings: { hosts: ["a.test"] },
        says: /b\.test is not served here/,
      },
    ];
    try {
      generations = await Generations.start({ accounts: ACCOUNTS });
      const talk = await Conversation.begin(generations);
      const elsewhere = await SmClient.start(generations, "mercutio", "grave", { domain: "b.test" });
      for (const failure of failures) await fail(generations, talk, failure);
      generations.configure({ top: "[[" });
      const refused = await generations.command("restart");
      assert.equal(refused.code, 2, refused.output);
      generations.configure();
      await succeed(generations, talk);
      const back = await SmClient.resume(generations, elsewhere.identity, { domain: "b.test" });
      back.resumed();
    } finally {
      taken.close();
    }
  });

  it("hangs until the time of a session is over does nothing about its end", async () => {
    const settings = { timeout: "6s" };
    generations = await Generations.start({ accounts: ACCOUNTS, settings });
    const romeo = await SmClient.start(generations, "romeo", "balcony");
    const juliet = await SmClient.start(generations, "juliet", "chamber", { enable: "resume='true' max='3'" });
    juliet.raw.reset();
    await generations.until((status) => status?.hibernating === 1);
    romeo.message("juliet@a.test/chamber", "once");
    assert.equal(await romeo.carried(), 1);
    generations.configure({ ...settings, module: "hang at handover" });
    const { code, output } = await generations.restart();
    assert.equal(code, 1, output);
    await generations.until((status) => status?.hibernating === 0);
    const later = await SmClient.start(generations, "juliet", "later");
    await later.available();
    await later.got("once");
    assert.equal(await later.carried(), 1);
    assert.deepEqual(later.bodies, ["once"]);
  });

  it("is a program that is not there any more leaves the predecessor serving", async () => {
    generations = await Generations.start({ accounts: ACCOUNTS });
    const talk = await Conversation.begin(generations);
    unlinkSync(generations.path("program.mjs"));
    symlinkSync(generations.path("gone.mjs"), generations.path("program.mjs"));
    const { code, output } = await generations.restart();
    assert.equal(code, 1, output);
    assert.match(output, /not restarted.*Cannot find module '.*program\.mjs'/s);
    unlinkSync(generations.path("program.mjs"));
    generations.program();
    await succeed(generations, talk);
  });

  it("hangs is killed when its time is over, and the predecessor has served all the while", async () => {
    // A second is enough to start up on an idle machine.
    const settings = { timeout: "5s" };
    generations = await Generations.start({ accounts: ACCOUNTS, settings });
    const talk = await Conversation.begin(generations);
    const hangs: readonly Failure[] = [
      { what: "hangs as it loads", settings: { ...settings, module: "hang at load" }, says: /within .*step hello/s },
      { what: "stops as the state comes", program: 'fault("state", "stop");', says: /within/ },
    ];
    for (const hang of hangs) await fail(generations, talk, hang);
    // The one that is to succeed has all the time that a busy machine may take.
    generations.configure({});
    generations.program();
    const { code, output } = await generations.command("reload");
    assert.equal(code, 0, output);
    await succeed(generations, talk);
  });
});

describe("a restart of the real server whose predecessor is killed", function () {
  this.timeout(120_000);
  let generations: Generations | undefined;
  afterEach(() => generations?.end());

  // Each generation is killed in the course of its restart, so that the next one is a survivor each time.
  const deaths: readonly (readonly [when: string, program: string, hasState: boolean])[] = [
    ["before the state", 'fault("now", "kill the predecessor");', false],
    ["in the middle of the state", 'fault("state", "kill the predecessor");', false],
    ["after the state, before the consent", 'fault("state-end", "kill the predecessor");', true],
    ["after the consent", 'fault("commit", "kill the predecessor");', true],
    ["right after it has passed the service on", 'fault("yours", "kill the predecessor");', true],
  ];

  it("leaves a successor that serves, with the sessions if it had all of the state", async () => {
    generations = await Generations.start({ accounts: ACCOUNTS, settings: { module: "large" } });
    const { files } = generations;
    let { pid = 0 } = (await generations.status()) ?? {};
    for (const [when, program, hasState] of deaths) {
      const talk = await Conversation.begin(generations);
      await talk.say();
      const { mark } = talk;
      generations.program(program);
      const { code, output } = await generations.restart();
      const told: string = `${when}: exit code ${code}: ${output}`;
      const died = pid;
      ({ pid = 0 } = (await generations.until((status) => status !== undefined && status.pid !== died)) ?? {});
      await generations.alone(pid);
      if (!/serves in place of/.test(output)) {
        assert.equal(code, 1, told);
        assert.match(output, /gone before it could say/, told);
      }
      talk.complete(mark);
      if (hasState) {
        await talk.resume();
        await talk.say();
        talk.complete();
      } else {
        await Promise.all([talk.romeo.raw.ended, talk.juliet.raw.ended]);
        const { answer } = await SmClient.resume(generations, talk.juliet.identity);
        assert.match(answer, /^<failed.*item-not-found/, told);
      }
      await canLogIn(generations);
      await generations.haveFiles(files, told);
      await talk.end();
    }
    generations.program();
    const { code, output } = await generations.restart();
    assert.equal(code, 0, output);
    await generations.until((status) => status?.pid !== pid);
  });
});
