import assert from "node:assert/strict";
import type { OperationOutcome } from "../../src/module.ts";
import { ModuleHost, type RecordedSession } from "../../src/testing/module-host.ts";

const COMMANDS = "http://jabber.org/protocol/commands";
const ADMIN = "http://jabber.org/protocol/admin#";
const OWN = "urn:morendo:admin#";

const ok = (result: unknown): OperationOutcome => ({ ok: true, result });
const error = (code: string): OperationOutcome => ({ ok: false, error: { code, message: "because" } });

const EVERYTHING = [
  "status",
  "report",
  "stop",
  "cancel",
  "restart",
  "suspend",
  "resume",
  "reload",
  "evacuate",
  "announce",
  "session.list",
  "session.end",
  "user.add",
  "user.passwd",
  "user.remove",
  "user.list",
  "user.roster",
];

describe("admin", () => {
  let host: ModuleHost;
  let admin: RecordedSession;
  beforeEach(async () => {
    host = await new ModuleHost().load(["disco", "commands", "admin"]);
    host.rights.set("admin@a.test", new Set(EVERYTHING));
    admin = host.bind("admin@a.test/x");
  });

  async function send(attrs: string, payload = "", session = admin): Promise<string> {
    const command = `<command xmlns="${COMMANDS}" ${attrs}>${payload}</command>`;
    await host.send(session, `<iq type="set" id="1" to="a.test">${command}</iq>`);
    await host.settle();
    return session.take().join("");
  }

  /** Begins a command and fills in its form. */
  async function run(node: string, fields: Record<string, string | readonly string[]>): Promise<string> {
    const form = await send(`node="${node}"`);
    const id = /sessionid="([^"]+)".*status="executing"/.exec(form)?.[1] ?? assert.fail(form);
    const elements = Object.entries(fields).map(([name, values]) => {
      assert.ok(form.includes(`var="${name}"`), `${name} is not in the form`);
      const texts = [values].flat().map((value) => `<value>${value}</value>`);
      return `<field var="${name}">${texts.join("")}</field>`;
    });
    return await send(
      `node="${node}" sessionid="${id}"`,
      `<x xmlns="jabber:x:data" type="submit">${elements.join("")}</x>`,
    );
  }

  async function listed(session = admin): Promise<string[]> {
    const query = `<query xmlns="http://jabber.org/protocol/disco#items" node="${COMMANDS}"/>`;
    await host.send(session, `<iq type="get" id="1" to="a.test">${query}</iq>`);
    return Array.from(
      session
        .take()
        .join("")
        .matchAll(/<item [^>]*node="([^"]+)"/g),
      ([, node = ""]) => node,
    );
  }

  it("offers each command to those who have the right to what it does", async () => {
    const all = await listed();
    for (const name of ["add-user", "delete-user", "end-user-session", "announce", "shutdown", "restart"]) {
      assert.ok(all.includes(`${ADMIN}${name}`), name);
    }
    assert.ok(all.includes(`${OWN}cancel`));
    const romeo = host.bind("romeo@a.test/x");
    assert.deepEqual(await listed(romeo), []);
    assert.match(await send(`node="${ADMIN}shutdown"`, "", romeo), /<forbidden /);
    host.rights.set("romeo@a.test", new Set(["status"]));
    assert.deepEqual(await listed(romeo), [`${OWN}status`]);
    assert.match(await send(`node="${ADMIN}shutdown"`, "", romeo), /<forbidden /);
    assert.deepEqual(host.performed, []);
  });

  it("forbids the next step to somebody who has lost the right meanwhile", async () => {
    const form = await send(`node="${ADMIN}shutdown"`);
    const id = /sessionid="([^"]+)"/.exec(form)?.[1];
    host.rights.clear();
    assert.match(await send(`node="${ADMIN}shutdown" sessionid="${id}"`), /<forbidden /);
    assert.deepEqual(host.performed, []);
  });

  it("adds users", async () => {
    const fields = { accountjid: "romeo@a.test", password: "p", "password-verify": "p" };
    assert.match(await run(`${ADMIN}add-user`, fields), /status="completed"/);
    assert.deepEqual(host.performed, [
      { who: "admin@a.test", name: "user.add", args: { jid: "romeo@a.test", password: "p" } },
    ]);
    host.outcome = () => error("MORENDO_ACCOUNT_EXISTS");
    assert.match(await run(`${ADMIN}add-user`, fields), /type="error".*<conflict .*because/);
    host.outcome = () => error("MORENDO_PASSWORD_INVALID");
    assert.match(await run(`${ADMIN}add-user`, fields), /<bad-request .*<bad-payload /);
    host.performed.length = 0;
    assert.match(await run(`${ADMIN}add-user`, { ...fields, "password-verify": "q" }), /<bad-payload /);
    assert.deepEqual(host.performed, []);
  });

  it("changes passwords", async () => {
    const fields = { accountjid: "romeo@a.test", password: "p" };
    assert.match(await run(`${ADMIN}change-user-password`, fields), /status="completed"/);
    assert.deepEqual(host.performed[0]?.args, { jid: "romeo@a.test", password: "p" });
    host.outcome = () => error("MORENDO_ACCOUNT_UNKNOWN");
    assert.match(await run(`${ADMIN}change-user-password`, fields), /<item-not-found /);
  });

  it("deletes users, and says what became of each", async () => {
    const accountjids = ["romeo@a.test", "nobody@a.test"];
    host.outcome = (_, args) =>
      (args as { jid: string }).jid === "nobody@a.test" ? error("MORENDO_ACCOUNT_UNKNOWN") : ok(null);
    assert.match(
      await run(`${ADMIN}delete-user`, { accountjids }),
      /completed"><note type="info">1 user was deleted.<\/note><note type="error">nobody@a.test: because<\/note>/,
    );
    assert.match(await run(`${ADMIN}delete-user`, { accountjids: "nobody@a.test" }), /<item-not-found /);
  });

  it("deletes nobody when the asker is among them", async () => {
    const accountjids = ["romeo@a.test", "admin@a.test"];
    assert.match(await run(`${ADMIN}delete-user`, { accountjids }), /<not-allowed /);
    assert.deepEqual(host.performed, []);
  });

  it("ends sessions, but not the one that asks", async () => {
    assert.match(
      await run(`${ADMIN}end-user-session`, { accountjids: ["romeo@a.test", "admin@a.test/y"] }),
      /completed/,
    );
    assert.deepEqual(
      host.performed.map(({ args }) => args),
      [{ jid: "romeo@a.test" }, { jid: "admin@a.test/y" }],
    );
    for (const self of ["admin@a.test", "admin@a.test/x"]) {
      assert.match(await run(`${ADMIN}end-user-session`, { accountjids: ["romeo@a.test", self] }), /<not-allowed /);
    }
    assert.equal(host.performed.length, 2);
  });

  it("tells how many users there are, and which", async () => {
    const all = ["a@a.test", "b@a.test", "c@a.test"];
    host.outcome = () => ok(all);
    assert.match(await send(`node="${ADMIN}get-registered-users-num"`), /var="registeredusersnum"[^>]*><value>3</);
    assert.deepEqual(host.performed[0]?.args, { host: "a.test" });
    const list = await run(`${ADMIN}get-registered-users-list`, { max_items: "25" });
    assert.match(list, /type="result".*<field var="registereduserjids"[^>]*><value>a@a.test<\/value>.*c@a.test/);
    assert.match(await run(`${ADMIN}get-registered-users-list`, { max_items: "none" }), /c@a.test/);
    const form = await send(`node="${ADMIN}get-registered-users-list"`);
    assert.match(form, /type="list-single"/);
  });

  it("shows at most as many as were asked for", async () => {
    host.outcome = () => ok(Array.from({ length: 30 }, (_, index) => `u${index}@a.test`));
    const list = await run(`${ADMIN}get-registered-users-list`, { max_items: "25" });
    assert.equal(list.match(/<value>u\d+@/g)?.length, 25);
    assert.match(list, /There are 5 more/);
  });

  it("tells who is online, active and idle", async () => {
    const sessions = [
      { jid: "a@a.test/1", show: "away" },
      { jid: "a@a.test/2", show: "online" },
      { jid: "b@a.test/1", show: "xa" },
      { jid: "c@a.test/1", show: "none" },
      { jid: "d@a.test/1", show: "dnd" },
    ];
    host.outcome = () => ok({ total: 5, users: 3, active: 2, sessions });
    for (const [kind, number, node, field, names] of [
      ["online", 3, "get-online-users-list", "onlineuserjids", "abd"],
      ["active", 2, "get-active-users", "activeuserjids", "ad"],
      ["idle", 1, "get-idle-users", "activeuserjids", "b"],
    ] as const) {
      const count = await send(`node="${ADMIN}get-${kind}-users-num"`);
      assert.ok(count.includes(`<field var="${kind}usersnum" type="text-single"><value>${number}</value>`), count);
      const list = await run(`${ADMIN}${node}`, {});
      const values = Array.from(names, (name) => `<value>${name}@a.test</value>`).join("");
      assert.ok(list.includes(`<field var="${field}" type="jid-multi">${values}</field>`), list);
    }
  });

  it("shows rosters in their own format", async () => {
    host.outcome = () => ok([{ jid: "j@b.test", name: "J", subscription: "both", groups: ["Friends"] }]);
    const answer = await run(`${ADMIN}get-user-roster`, { accountjids: "romeo@a.test" });
    assert.ok(
      answer.includes(
        '<query xmlns="jabber:iq:roster"><item jid="j@b.test" name="J" subscription="both"><group>Friends</group></item></query></x>',
      ),
      answer,
    );
  });

  it("tells a user's statistics", async () => {
    host.outcome = (name) =>
      name === "user.roster"
        ? ok([{ jid: "j@b.test", subscription: "both", groups: [] }])
        : ok({
            total: 2,
            users: 2,
            active: 2,
            sessions: [
              { jid: "r@a.test/1", show: "none" },
              { jid: "rr@a.test/1", show: "none" },
            ],
          });
    const answer = await run(`${ADMIN}user-stats`, { accountjid: "r@a.test" });
    assert.match(answer, /var="rostersize"[^>]*><value>1</);
    assert.match(answer, /var="onlineresources"[^>]*><value>1</);
  });

  it("announces", async () => {
    assert.match(await run(`${ADMIN}announce`, { announcement: ["Hear", "me"] }), /completed/);
    assert.equal(host.performed[0]?.name, "announce");
    assert.match(await send(`node="${ADMIN}announce"`), /<required\/>/);
  });

  it("shuts down, at once or later, with an announcement", async () => {
    host.outcome = () => ok({ state: "stopping" });
    assert.match(await run(`${ADMIN}shutdown`, {}), /status="completed"/);
    assert.match(await run(`${ADMIN}shutdown`, { delay: "0", announcement: "" }), /completed/);
    assert.match(await run(`${ADMIN}shutdown`, { delay: "60", announcement: ["Moving", "house"] }), /completed/);
    assert.deepEqual(
      host.performed.map(({ args }) => args),
      [{}, {}, { delayMs: 60_000, announcement: "Moving\nhouse" }],
    );
    assert.match(await run(`${ADMIN}shutdown`, { delay: "61" }), /<bad-payload /);
    assert.equal(host.performed.length, 3);
  });

  it("answers before a restart is over, and tells of a failure later", async () => {
    let finish: (outcome: OperationOutcome) => void = () => undefined;
    host.outcome = () =>
      new Promise((resolve) => {
        finish = resolve;
      });
    assert.match(await run(`${ADMIN}restart`, {}), /completed"><note type="info">The restart has begun/);
    finish(ok({ restarted: false, pid: 1, step: "ready", why: "no luck", stderrTail: "" }));
    await host.settle();
    assert.match(admin.take().join(""), /<message from="a.test" to="admin@a.test\/x".*not restarted: no luck/);
  });

  it("says so when a restart is refused", async () => {
    host.outcome = () =>
      ok({ restarted: false, pid: 1, step: "refused", why: "the server is stopping", stderrTail: "" });
    assert.match(
      await run(`${ADMIN}restart`, {}),
      /completed"><note type="error">Not restarted: the server is stopping/,
    );
    host.outcome = () => error("MORENDO_STOPPING");
    assert.match(await run(`${ADMIN}restart`, {}), /<unexpected-request /);
  });

  it("cancels", async () => {
    host.outcome = () => ok({ cancelled: false, why: "nothing is under way" });
    assert.match(await run(`${OWN}cancel`, {}), /<note type="error">Not cancelled: nothing is under way/);
    host.outcome = () => ok({ cancelled: true, failed: [{ name: "x", error: "stuck" }] });
    assert.match(await run(`${OWN}cancel`, { reason: "found it" }), /stays up.<\/note><note type="warn">x: stuck/);
    assert.deepEqual(host.performed.at(-1)?.args, { reason: "found it" });
  });

  it("suspends after the answer, and tells of a failure", async () => {
    host.outcome = () => ok({ suspended: false, outcome: "timed-out", why: "somebody was late" });
    const answer = await run(`${OWN}suspend`, { mode: "refuse", reason: "a move" });
    assert.match(
      answer,
      /completed"><note type="info">The service is being suspended.*<message .*not suspended: somebody was late/,
    );
    assert.deepEqual(host.performed[0]?.args, { mode: "refuse", reason: "a move" });
    host.state = "suspended";
    assert.match(await run(`${OWN}suspend`, {}), /<unexpected-request /);
  });

  it("evacuates", async () => {
    host.outcome = () => ok({ suspended: true, outcome: "suspended" });
    const answer = await run(`${OWN}evacuate`, { to: "b.test:5222" });
    assert.match(answer, /completed"><note type="info">Users are asked to leave/);
    assert.doesNotMatch(answer, /<message/);
    assert.deepEqual(host.performed[0], { who: "admin@a.test", name: "evacuate", args: { to: "b.test:5222" } });
  });

  it("does not take a delay for a restart, which has no gap", async () => {
    assert.match(await run(`${ADMIN}restart`, { delay: "30" }), /<bad-payload /);
    assert.deepEqual(host.performed, []);
  });

  it("resumes", async () => {
    host.outcome = () => ok({ resumed: true, failed: [] });
    assert.match(await run(`${OWN}resume`, {}), /<note type="info">The service goes on/);
    host.outcome = () => ok({ resumed: false, why: "it is running" });
    assert.match(await run(`${OWN}resume`, {}), /<note type="error">Not resumed: it is running/);
  });

  it("reloads, and says what is in force or why nothing is", async () => {
    host.outcome = () => ok({ applied: ["log.level"], restart: [], modules: { loaded: ["time"] } });
    const answer = await send(`node="${OWN}reload"`);
    assert.match(answer, /<note type="info">Reloaded/);
    assert.match(answer, /var="applied"[^>]*><value>log.level</);
    assert.match(answer, /var="modules.loaded"[^>]*><value>time</);
    host.outcome = () => error("MORENDO_CONFIG_INVALID");
    assert.match(await send(`node="${OWN}reload"`), /<not-acceptable .*because/);
  });

  it("tells the status field by field", async () => {
    host.outcome = () =>
      ok({ state: "running", sessions: 3, listening: ["c2s a"], s2s: { queued: 2, deep: { er: 1 } } });
    const answer = await send(`node="${OWN}status"`);
    for (const [name, value] of [
      ["state", "running"],
      ["sessions", "3"],
      ["listening", "c2s a"],
      ["s2s.queued", "2"],
    ]) {
      assert.match(answer, new RegExp(`var="${name}"[^>]*><value>${value}<`));
    }
    assert.doesNotMatch(answer, /deep/);
  });
});
