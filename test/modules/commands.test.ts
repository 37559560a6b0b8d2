import assert from "node:assert/strict";
import type { AdHocCommand, CommandAnswer, CommandStage } from "../../src/module.ts";
import { defineModule, resultElement, StanzaError } from "../../src/module.ts";
import { ModuleHost, type RecordedSession } from "../../src/testing/module-host.ts";

const COMMANDS = "http://jabber.org/protocol/commands";

/** A small order of bread: what kind, how many, and whether that is right. */
const bakery = defineModule({
  name: "bakery",
  load(api) {
    api.command(order);
    api.command({ ...order, node: "staff", name: "For the staff", allowed: (who) => who.local === "baker" });
    api.command({ node: "slow", name: "Slow", allowed: () => true, start: () => slow.promise });
    api.command({
      node: "broken",
      name: "Broken",
      allowed: () => true,
      start: () => {
        throw new Error("no flour");
      },
    });
    api.command({ node: "busy", name: "Busy", allowed: () => true, start: () => new StanzaError("conflict") });
  },
});

const count = (kind: string): CommandStage => ({
  form: { formType: "urn:bakery", fields: [{ name: "count", type: "text-single", required: true }] },
  submit: (values): CommandAnswer => {
    if (values.text("count") === "0") return new StanzaError("not-acceptable", "none at all?");
    const fields = [{ name: "order", type: "text-single", value: `${values.text("count")} ${kind}` }] as const;
    return { notes: [{ type: "info", text: "Thank you" }], payload: [resultElement({ fields })] };
  },
});

const order: AdHocCommand = {
  node: "order",
  name: "Order bread",
  allowed: () => true,
  start: () => ({
    form: {
      formType: "urn:bakery",
      title: "Order",
      fields: [{ name: "kind", type: "list-single", required: true, options: [{ value: "rye" }, { value: "bun" }] }],
    },
    hasNext: true,
    notes: [{ type: "warn", text: "Sold out soon" }],
    submit: async (values) => count(values.text("kind")),
  }),
};

/** An answer that a test gives when it likes. */
function open(): {
  readonly promise: Promise<CommandAnswer>;
  resolve: (answer: CommandAnswer) => void;
  reject: (error: Error) => void;
} {
  let resolve: (answer: CommandAnswer) => void = () => undefined;
  let reject: (error: Error) => void = () => undefined;
  const promise = new Promise<CommandAnswer>((fulfil, refuse) => {
    resolve = fulfil;
    reject = refuse;
  });
  return { promise, resolve, reject };
}

let slow = open();

describe("commands", () => {
  let host: ModuleHost;
  let romeo: RecordedSession;
  beforeEach(async () => {
    slow = open();
    host = await new ModuleHost().load(["disco", "commands"], {
      commands: { max_sessions: 3, max_sessions_per_user: 2 },
    });
    await host.install(bakery);
    romeo = host.bind("romeo@a.test/x");
  });

  /** Sends a command; returns the answer. */
  async function run(attrs: string, payload = "", session = romeo): Promise<string> {
    await host.send(
      session,
      `<iq type="set" id="1" to="a.test"><command xmlns="${COMMANDS}" ${attrs}>${payload}</command></iq>`,
    );
    await host.settle();
    return session.take().join("");
  }

  function submit(fields: Record<string, string>, type = "submit"): string {
    const elements = Object.entries(fields).map(
      ([name, value]) => `<field var="${name}"><value>${value}</value></field>`,
    );
    return `<x xmlns="jabber:x:data" type="${type}">${elements.join("")}</x>`;
  }

  function idOf(answer: string): string {
    return /sessionid="([^"]+)"/.exec(answer)?.[1] ?? assert.fail(`no session: ${answer}`);
  }

  async function begin(node = "order", session = romeo): Promise<string> {
    return `node="${node}" sessionid="${idOf(await run(`node="${node}"`, "", session))}"`;
  }

  function assertError(answer: string, condition: string, detail?: string): void {
    assert.match(answer, /type="error"/);
    assert.match(answer, new RegExp(`<${condition} xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/>`), answer);
    if (detail !== undefined) assert.ok(answer.includes(`<${detail} xmlns="${COMMANDS}"/>`), answer);
  }

  const disco = async (kind: "info" | "items", node: string, session = romeo): Promise<string> => {
    const query = `<query xmlns="http://jabber.org/protocol/disco#${kind}" node="${node}"/>`;
    await host.send(session, `<iq type="get" id="1" to="a.test">${query}</iq>`);
    return session.take().join("");
  };

  it("lists to everybody the commands that they may use", async () => {
    const list = await disco("items", COMMANDS);
    assert.match(list, /<item jid="a.test" node="order" name="Order bread"\/>/);
    assert.doesNotMatch(list, /staff/);
    assert.match(await disco("items", COMMANDS, host.bind("baker@a.test/x")), /node="staff"/);
    assert.match(await disco("info", COMMANDS), /<identity category="automation" type="command-list"/);
  });

  it("describes a command as a node, to those who may use it", async () => {
    const info = await disco("info", "order");
    assert.match(
      info,
      /<query [^>]*node="order"><identity category="automation" type="command-node" name="Order bread"\/>/,
    );
    assert.match(info, /<feature var="jabber:x:data"\/>/);
    assert.match(await disco("info", "staff"), /<forbidden /);
    assert.match(await disco("info", "cake"), /<item-not-found /);
    assert.match(await disco("items", "order"), /<query [^>]*node="order"\/>/);
  });

  it("leads through the stages to a result", async () => {
    const first = await run('node="order" action="execute"');
    assert.match(first, /type="result".*status="executing"/);
    assert.match(first, /<actions execute="next"><next\/><\/actions><note type="warn">Sold out soon<\/note><x /);
    assert.match(first, /<field var="FORM_TYPE" type="hidden"><value>urn:bakery<\/value><\/field>/);
    const session = `node="order" sessionid="${idOf(first)}"`;
    const second = await run(`${session} action="next"`, submit({ FORM_TYPE: "urn:bakery", kind: "rye" }));
    assert.equal(idOf(second), idOf(first));
    assert.match(second, /<actions execute="complete"><prev\/><complete\/><\/actions>/);
    const last = await run(`${session} action="complete"`, submit({ count: "3" }));
    assert.match(last, /status="completed"><note type="info">Thank you<\/note><x xmlns="jabber:x:data" type="result">/);
    assert.match(last, /<value>3 rye<\/value>/);
    assertError(await run(session, submit({ count: "3" })), "not-allowed", "session-expired");
  });

  it("takes execute, or no action at all, for what the stage proposes", async () => {
    const session = await begin();
    await run(session, submit({ kind: "bun" }));
    assert.match(await run(`${session} action="execute"`, submit({ count: "1" })), /<value>1 bun<\/value>/);
  });

  it("goes back to the stage before, and from there forward again", async () => {
    const session = await begin();
    assertError(await run(`${session} action="prev"`), "bad-request", "bad-action");
    await run(session, submit({ kind: "bun" }));
    assert.match(await run(`${session} action="prev"`), /<actions execute="next"><next\/>.*var="kind"/);
    await run(session, submit({ kind: "rye" }));
    assert.match(await run(session, submit({ count: "1" })), /<value>1 rye<\/value>/);
  });

  it("is cancelled at any stage", async () => {
    const session = await begin();
    assert.match(await run(`${session} action="cancel"`), /type="result".*status="canceled"\/>/);
    assertError(await run(session, submit({ kind: "rye" })), "not-allowed", "session-expired");
  });

  it("refuses actions that the stage does not have, and those that nobody knows", async () => {
    const session = await begin();
    assertError(await run(`${session} action="complete"`, submit({ kind: "rye" })), "bad-request", "bad-action");
    assertError(await run(`${session} action="dance"`), "bad-request", "malformed-action");
    assertError(await run('node="order" action="next"'), "bad-request", "bad-action");
    assert.match(await run(session, submit({ kind: "rye" })), /var="count"/);
  });

  it("refuses forms that are not filled in as described, and lets the user try again", async () => {
    const session = await begin();
    for (const payload of [
      "",
      submit({}),
      submit({ kind: "cake" }),
      submit({ kind: "rye" }, "form"),
      submit({}, "cancel"),
    ]) {
      assertError(await run(session, payload), "bad-request", "bad-payload");
    }
    assertError(await run(session, submit({ FORM_TYPE: "urn:other", kind: "rye" })), "bad-request", "bad-payload");
    await run(session, submit({ kind: "rye" }));
    assertError(await run(session, submit({ count: "0" })), "not-acceptable");
    assert.match(await run(session, submit({ count: "2" })), /status="completed"/);
  });

  it("knows no sessions but those of the asker and the command", async () => {
    const session = await begin();
    const other = host.bind("romeo@a.test/y");
    assertError(await run(session, submit({ kind: "rye" }), other), "bad-request", "bad-sessionid");
    assertError(await run(session.replace("order", "busy")), "bad-request", "bad-sessionid");
    assertError(await run('node="order" sessionid="made-up"'), "bad-request", "bad-sessionid");
    assert.match(await run(session, submit({ kind: "rye" })), /executing/);
  });

  it("names the command and its session in an error, by which clients know them", async () => {
    const session = await begin();
    const head = `<command xmlns="${COMMANDS}" ${session}/><error type="modify">`;
    assert.ok((await run(session, submit({}))).includes(head));
  });

  it("refuses commands that there are not, have no name, or are for others", async () => {
    assertError(await run('node="cake"'), "item-not-found");
    assertError(await run(""), "bad-request");
    assertError(await run('node="staff"'), "forbidden");
    assert.match(await run('node="staff"', "", host.bind("baker@a.test/x")), /executing/);
  });

  it("logs refusals, and counts a flood of them", async () => {
    const refusals = (): unknown[] =>
      host.logged.filter(({ message }) => message.includes("refused")).map(({ fields }) => fields.unlogged ?? 0);
    for (let index = 0; index < 3; index++) await run('node="staff"');
    assert.deepEqual(refusals(), [0]);
    assert.equal(host.logged.at(-1)?.fields.who, "romeo@a.test/x");
    await host.clock.advance(1_000);
    await run('node="staff"');
    assert.deepEqual(refusals(), [0, 2]);
  });

  it("asks the host only", async () => {
    await host.send(romeo, `<iq type="set" id="1"><command xmlns="${COMMANDS}" node="order"/></iq>`);
    assertError(romeo.take().join(""), "service-unavailable");
  });

  it("forgets a command after some time", async () => {
    const session = await begin();
    await host.clock.advance(9 * 60_000);
    await run(session, submit({ kind: "rye" }));
    await host.clock.advance(9 * 60_000);
    assert.match(await run(`${session} action="prev"`), /executing/);
    await host.clock.advance(10 * 60_000 + 1);
    assertError(await run(session, submit({ kind: "rye" })), "not-allowed", "session-expired");
  });

  it("lets the oldest command of a user go for another one, and has a bound on all", async () => {
    const oldest = await begin();
    const second = await begin();
    const third = await begin();
    assertError(await run(oldest, submit({ kind: "rye" })), "not-allowed", "session-expired");
    assert.match(await run(second, submit({ kind: "rye" })), /executing/);
    await begin("order", host.bind("juliet@a.test/x"));
    assertError(await run('node="order"', "", host.bind("nurse@a.test/x")), "resource-constraint");
    assert.match(await run(third, submit({ kind: "rye" })), /executing/);
  });

  it("ends the commands of a session that ends", async () => {
    const other = host.bind("romeo@a.test/y");
    const session = await begin("order", other);
    await host.end(other);
    const again = host.bind("romeo@a.test/y");
    assertError(await run(session, submit({ kind: "rye" }), again), "not-allowed", "session-expired");
  });

  it("does not hold up the stream of a user whose command is at work", async () => {
    assert.equal(await run('node="slow"'), "");
    assert.match(await disco("info", "order"), /command-node/);
    slow.resolve({ notes: [{ type: "info", text: "at last" }] });
    await host.settle();
    assert.match(romeo.take().join(""), /id="1".*status="completed"><note type="info">at last<\/note>/);
  });

  it("takes one step at a time", async () => {
    const pending = open();
    const later: AdHocCommand = {
      node: "later",
      name: "Later",
      allowed: () => true,
      start: () => ({ form: { fields: [] }, submit: () => pending.promise }),
    };
    await host.install(defineModule({ name: "later", load: (api) => api.command(later) }));
    const session = await begin("later");
    assert.equal(await run(session, submit({})), "");
    for (const action of ["execute", "cancel"]) {
      assertError(await run(`${session} action="${action}"`, submit({})), "unexpected-request");
    }
    pending.resolve(new StanzaError("conflict"));
    await host.settle();
    assertError(romeo.take().join(""), "conflict");
    assert.match(await run(`${session} action="cancel"`), /canceled/);
  });

  it("does what would end the asker's stream after the answer", async () => {
    let done = 0;
    const start = (): CommandAnswer => ({
      notes: [{ type: "info", text: "now" }],
      afterwards: () => {
        assert.match(romeo.take().join(""), /completed"><note type="info">now/);
        done++;
        throw new Error("not that");
      },
    });
    const command = { node: "after", name: "After", allowed: () => true, start };
    await host.install(defineModule({ name: "after", load: (api) => api.command(command) }));
    await run('node="after"');
    assert.equal(done, 1);
    assert.deepEqual(host.loader.faults().after, { 'failed at command "after"': 1 });
  });

  it("lets the close of sessions wait for answers that are under way", async () => {
    await run('node="slow"');
    const { participant } =
      host.participants.find(({ phase, participant }) => phase === "close-sessions" && participant.when === "before") ??
      assert.fail("nobody waits");
    let isOver = false;
    const over = Promise.resolve(participant.run({} as never)).then(() => {
      isOver = true;
    });
    await host.settle();
    assert.equal(isOver, false);
    slow.resolve({});
    await over;
    assert.match(romeo.take().join(""), /completed/);
  });

  it("tells the asker of a command that fails nothing but that, and names its module", async () => {
    assertError(await run('node="broken"'), "internal-server-error");
    await run('node="slow"');
    slow.reject(new Error("no yeast"));
    await host.settle();
    assertError(romeo.take().join(""), "internal-server-error");
    assert.deepEqual(host.loader.faults().bakery, { 'failed at command "broken"': 1, 'failed at command "slow"': 1 });
  });

  it("ends the commands of a module that is unloaded", async () => {
    const session = await begin();
    await host.loader.unload("bakery");
    assertError(await run(session, submit({ kind: "rye" })), "item-not-found");
    await host.install(defineModule({ ...bakery, name: "bakery-2" }));
    assertError(await run(session, submit({ kind: "rye" })), "not-allowed", "session-expired");
  });

  it("has one command for each node", async () => {
    const twin = defineModule({ name: "twin", load: (api) => api.command(order) });
    await assert.rejects(host.install(twin), /command "order" refused: there is one already/);
    assert.match(await run('node="order"'), /executing/);
  });

  it("answers users of other servers", async () => {
    const command = `<command xmlns="${COMMANDS}" node="order"/>`;
    await host.receive(`<iq type="set" id="7" from="j@b.test/y" to="a.test">${command}</iq>`);
    assert.match(host.takeRemote().join(""), /to="j@b.test\/y".*executing/);
  });
});
