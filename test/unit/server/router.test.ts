import assert from "node:assert/strict";
import type { Jid } from "../../../src/jid/jid.ts";
import { Router } from "../../../src/server/router.ts";
import { SessionTable } from "../../../src/server/session-table.ts";
import type { Stanza } from "../../../src/stanza/stanza.ts";
import { StanzaError } from "../../../src/stanza/stanza-error.ts";
import { Hooks } from "../../../src/util/hooks.ts";
import { xml } from "../../../src/xml/element.ts";
import { FakeSession } from "../../support/fake-session.ts";
import { chat, jid, stanza } from "../../support/stanzas.ts";

/** A router for a.test with the accounts romeo and juliet, and what it sent to other servers. */
function makeRouter() {
  const sessions = new SessionTable();
  const hooks = new Hooks((_hook, _owner, thrown) => assert.fail(String(thrown)));
  const remote: Stanza[] = [];
  const answers: Stanza[] = [];
  const lost: string[] = [];
  const fates: string[] = [];
  const router = new Router({
    hosts: ["a.test"],
    sessions,
    hooks,
    accounts: { exists: (local) => (local === "romeo" ? true : Promise.resolve(local === "juliet")) },
    remote: {
      send: (sent) => {
        remote.push(sent);
      },
      onIqAnswer: (answer) => {
        answers.push(answer);
        return true;
      },
    },
    obligations: {
      settle: (_destination, fate, { name }) => {
        fates.push(fate);
        if (fate === "lost") lost.push(`${fate} ${name}`);
      },
    },
  });
  const connect = (full: string): FakeSession => {
    const session = new FakeSession(full);
    sessions.add(session);
    return session;
  };
  return { router, sessions, hooks, remote, answers, lost, fates, connect };
}

const errorOf = (sent: Stanza | undefined): string | undefined =>
  sent?.element.getChild("error")?.getChildElements()[0]?.name;

describe("Router", () => {
  describe("messages", () => {
    it("gives one for a full JID to that session and to no other", () => {
      const { router, connect } = makeRouter();
      const [one, two] = [connect("romeo@a.test/1").available(), connect("romeo@a.test/2").available()];
      assert.equal(router.route(chat("x@b.test/y", "romeo@a.test/1", "hi")), undefined);
      assert.equal(one.received.length, 1);
      assert.equal(two.received.length, 0);
    });

    it("gives one for a bare JID to the available resources of the highest priority", () => {
      const { router, connect } = makeRouter();
      const low = connect("romeo@a.test/low").available(1);
      const high = connect("romeo@a.test/high").available(5);
      const alsoHigh = connect("romeo@a.test/also").available(5);
      const negative = connect("romeo@a.test/never").available(-1);
      const silent = connect("romeo@a.test/silent");
      void router.route(chat("x@b.test/y", "romeo@a.test", "hi"));
      assert.deepEqual(
        [low, high, alsoHigh, negative, silent].map(({ received }) => received.length),
        [0, 1, 1, 0, 0],
      );
    });

    it("gives a headline to all available resources that are not negative, and to nobody else", () => {
      const { router, connect, remote } = makeRouter();
      const low = connect("romeo@a.test/low").available(1);
      const high = connect("romeo@a.test/high").available(5);
      void router.route(chat("x@b.test/y", "romeo@a.test", "news", "headline"));
      assert.deepEqual([low.received.length, high.received.length, remote.length], [1, 1, 0]);
    });

    it("writes down the fate of each that nobody was there to take", async () => {
      const { router, hooks, fates, remote } = makeRouter();
      const given: (string | StanzaError)[] = ["stored", "dropped", new StanzaError("service-unavailable")];
      hooks.add("message/offline", "offline", () => given.shift());
      for (const body of ["1", "2", "3", "4"]) await router.route(chat("x@b.test/y", "romeo@a.test", body));
      await router.route(chat("x@b.test/y", "romeo@a.test", "5", "headline"));
      await router.route(chat("x@b.test/y", "romeo@a.test", "6", "error"));
      await router.route(chat("romeo@a.test/gone", "romeo@a.test", "7"));
      assert.deepEqual(fates, ["stored", "dropped", "returned", "returned", "dropped", "dropped", "lost"]);
      assert.equal(remote.length, 2);
    });

    it("gives a headline for a resource that has gone to nobody else", () => {
      const { router, connect, remote } = makeRouter();
      const other = connect("romeo@a.test/other").available(1);
      assert.equal(router.route(chat("x@b.test/y", "romeo@a.test/gone", "news", "headline")), undefined);
      assert.deepEqual([other.received.length, remote.length], [0, 0]);
    });

    it("keeps one offline when nobody is there, and waits until that is done", async () => {
      const { router, hooks, remote } = makeRouter();
      let stored: (answer: "stored") => void = () => undefined;
      const kept: string[] = [];
      hooks.add("message/offline", "offline", ({ account }: { account: unknown }) => {
        kept.push(String(account));
        return new Promise<"stored">((resolve) => {
          stored = resolve;
        });
      });
      const done = router.route(chat("x@b.test/y", "romeo@a.test/gone", "hi"));
      assert.ok(done instanceof Promise, "responsibility is not taken over yet");
      stored("stored");
      await done;
      assert.deepEqual([kept, remote.length], [["romeo@a.test"], 0]);
    });

    it("returns one that nobody takes to its sender, wherever that is", async () => {
      const { router, connect, remote } = makeRouter();
      const sender = connect("romeo@a.test/1").available();
      await router.route(chat("romeo@a.test/1", "juliet@a.test", "hi"));
      assert.equal(errorOf(sender.received[0]), "service-unavailable");
      await router.route(chat("x@b.test/y", "nobody@a.test", "hi"));
      assert.equal(errorOf(remote[0]), "service-unavailable");
      assert.equal(remote[0]?.to?.toString(), "x@b.test/y");
    });

    it("never answers an error with an error", async () => {
      const { router, remote, lost } = makeRouter();
      await router.route(chat("x@b.test/y", "nobody@a.test", "hi", "error"));
      assert.deepEqual([remote.length, lost.length], [0, 0]);
    });

    it("records one as lost when it can neither be delivered nor returned", async () => {
      const { router, lost } = makeRouter();
      await router.route(chat("romeo@a.test/gone", "nobody@a.test", "hi"));
      assert.deepEqual(lost, ["lost message romeo@a.test/gone -> nobody@a.test id=hi"]);
    });

    it("refuses groupchat to an account", async () => {
      const { router, remote, connect } = makeRouter();
      connect("romeo@a.test/1").available();
      await router.route(chat("room@b.test/y", "romeo@a.test", "hi", "groupchat"));
      assert.equal(errorOf(remote[0]), "service-unavailable");
    });

    it("takes one without an addressee as one for the sender's own account", async () => {
      const { router, connect } = makeRouter();
      const sender = connect("romeo@a.test/1");
      const other = connect("romeo@a.test/2").available();
      await router.fromClient(sender, stanza("message", { from: "romeo@a.test/1" }, xml("body", {}, "note")));
      assert.equal(other.received[0]?.to?.toString(), "romeo@a.test");
    });

    it("sends one for another domain to the other servers", () => {
      const { router, remote } = makeRouter();
      void router.route(chat("romeo@a.test/1", "juliet@b.test", "hi"));
      assert.equal(remote.length, 1);
    });

    it("waits for the slowest of several recipients", async () => {
      const { router, sessions } = makeRouter();
      let room: () => void = () => undefined;
      class Slow extends FakeSession {
        override deliver(): Promise<void> {
          return new Promise((resolve) => {
            room = resolve;
          });
        }
      }
      sessions.add(new FakeSession("romeo@a.test/fast").available());
      sessions.add(new Slow("romeo@a.test/slow").available());
      const done = router.route(chat("x@b.test/y", "romeo@a.test", "hi"));
      assert.ok(done instanceof Promise);
      room();
      await done;
    });
  });

  describe("IQ requests", () => {
    const ping = (to: string | undefined): Stanza =>
      stanza(
        "iq",
        { from: "romeo@a.test/1", type: "get", id: "1", ...(to === undefined ? {} : { to }) },
        xml("ping", { xmlns: "urn:xmpp:ping" }),
      );

    it("are answered by the hook of their namespace", async () => {
      const { router, hooks, connect } = makeRouter();
      const sender = connect("romeo@a.test/1");
      hooks.add("iq/get/urn:xmpp:ping", "ping", () => "empty");
      await router.fromClient(sender, ping("a.test"));
      assert.equal(sender.texts[0], '<iq type="result" id="1" from="a.test" to="romeo@a.test/1"/>');
    });

    it("are for the own account when they name nobody", async () => {
      const { router, hooks, connect } = makeRouter();
      const sender = connect("romeo@a.test/1");
      const asked: string[] = [];
      hooks.add("iq/get/urn:xmpp:ping", "ping", (request: { target: string; asked: Jid }) => {
        asked.push(`${request.target} ${request.asked.toString()}`);
        return "empty";
      });
      await router.fromClient(sender, ping(undefined));
      assert.deepEqual(asked, ["account romeo@a.test"]);
    });

    it("get service-unavailable when nobody answers, and the error that a handler names", async () => {
      const { router, hooks, connect } = makeRouter();
      const sender = connect("romeo@a.test/1");
      await router.fromClient(sender, ping("a.test"));
      hooks.add("iq/get/urn:xmpp:ping", "ping", async () => new StanzaError("forbidden"));
      await router.fromClient(sender, ping("a.test"));
      await router.fromClient(sender, ping("juliet@a.test/gone"));
      assert.deepEqual(sender.received.map(errorOf), ["service-unavailable", "forbidden", "service-unavailable"]);
    });

    it("that answer us go to the remote side first", () => {
      const { router, answers } = makeRouter();
      void router.route(stanza("iq", { from: "b.test", to: "a.test", type: "result", id: "p" }));
      assert.equal(answers.length, 1);
    });
  });

  describe("presence", () => {
    it("from a client goes to the presence hook, whatever its addressee", () => {
      const { router, hooks, connect, remote } = makeRouter();
      const sender = connect("romeo@a.test/1");
      let sent = 0;
      hooks.add("presence/sent", "presence", () => {
        sent++;
        return true;
      });
      void router.fromClient(sender, stanza("presence", { from: "romeo@a.test/1", to: "juliet@b.test" }));
      assert.deepEqual([sent, remote.length], [1, 0]);
    });

    it("for a full JID goes to that resource, but a subscription request to the account", () => {
      const { router, hooks, connect } = makeRouter();
      const session = connect("romeo@a.test/1").available();
      const received: string[] = [];
      hooks.add("presence/received", "presence", (payload: { account: unknown; stanza: Stanza }) => {
        received.push(payload.stanza.type);
        return true;
      });
      void router.route(stanza("presence", { from: "x@b.test/y", to: "romeo@a.test/1" }));
      void router.route(stanza("presence", { from: "x@b.test", to: "romeo@a.test/1", type: "subscribe" }));
      assert.deepEqual([session.received.length, received], [1, ["subscribe"]]);
    });

    it("for a resource or an account that does not exist is dropped without an answer", async () => {
      const { router, remote } = makeRouter();
      await router.route(stanza("presence", { from: "x@b.test/y", to: "romeo@a.test/gone" }));
      await router.route(stanza("presence", { from: "x@b.test/y", to: "nobody@a.test" }));
      assert.equal(remote.length, 0);
    });
  });

  it("does not deliver to a session that has begun to end", async () => {
    const { router, hooks, connect } = makeRouter();
    hooks.add("message/offline", "offline", () => "stored");
    const session = connect("romeo@a.test/1").available();
    session.open = false;
    await router.route(chat("x@b.test/y", "romeo@a.test/1", "hi"));
    assert.equal(session.received.length, 0);
  });
});

describe("SessionTable", () => {
  it("finds sessions by full JID and by account, and forgets them whole", () => {
    const table = new SessionTable();
    const one = new FakeSession("romeo@a.test/1");
    const two = new FakeSession("romeo@a.test/2");
    table.add(one);
    table.add(two);
    assert.equal(table.get(jid("romeo@a.test/1")), one);
    assert.equal(table.of(jid("romeo@a.test")).size, 2);
    table.remove(new FakeSession("romeo@a.test/1"));
    assert.equal(table.size, 2, "another session with the same name is not this one");
    table.remove(one);
    table.remove(two);
    assert.equal(table.size, 0);
    assert.deepEqual([...table.all()], []);
  });

  describe("after another process has taken its place", () => {
    /** A router that passes on, with one session that is still here. */
    function passing() {
      const made = makeRouter();
      const passed: Stanza[] = [];
      const here = made.connect("romeo@a.test/here").available();
      made.router.passOn((sent) => {
        passed.push(sent);
      });
      return { ...made, passed, here };
    }

    it("passes on what is for its hosts, but for the full JID of a session that is still here", () => {
      const { router, passed, here } = passing();
      void router.route(chat("x@b.test/y", "romeo@a.test/here", "1"));
      void router.route(chat("x@b.test/y", "romeo@a.test/gone", "2"));
      void router.route(chat("x@b.test/y", "romeo@a.test", "3"));
      void router.route(stanza("presence", { from: "x@b.test", to: "juliet@a.test", type: "subscribe" }));
      assert.equal(here.received.length, 1);
      assert.deepEqual(
        passed.map(({ to }) => to?.toString()),
        ["romeo@a.test/gone", "romeo@a.test", "juliet@a.test"],
      );
    });

    it("calls nobody local, until its place is its own again", () => {
      const { router } = passing();
      assert.equal(router.isLocal(jid("romeo@a.test")), false);
      router.takeBack();
      assert.equal(router.isLocal(jid("romeo@a.test")), true);
    });

    it("still sends to other servers itself, and takes the answers to what it asked them", () => {
      const { router, passed, remote, answers } = passing();
      void router.route(chat("romeo@a.test/here", "x@b.test", "1"));
      void router.route(stanza("iq", { from: "b.test", to: "a.test", type: "result", id: "ping" }));
      assert.deepEqual([remote.length, answers.length, passed.length], [1, 1, 0]);
    });

    it("passes on an error for a sender who is not here any more", () => {
      const { router, passed } = passing();
      assert.equal(router.returnToSender(chat("juliet@a.test/z", "x@b.test", "1"), new StanzaError("gone")), true);
      assert.deepEqual(
        passed.map(({ type }) => type),
        ["error"],
      );
    });

    it("lets those who are still here change nothing that is stored, and tells them", () => {
      const { router, hooks, passed, here } = passing();
      hooks.add("presence/sent", "test", () => assert.fail("asked"));
      const subscribe = stanza("presence", { from: "romeo@a.test/here", to: "x@b.test", type: "subscribe" });
      const set = stanza(
        "iq",
        { from: "romeo@a.test/here", type: "set", id: "1" },
        xml("query", { xmlns: "jabber:iq:roster" }),
      );
      void router.fromClient(here, subscribe);
      void router.fromClient(here, set);
      assert.deepEqual(here.received.map(errorOf), ["service-unavailable", "service-unavailable"]);
      assert.deepEqual(passed, []);
    });
  });

  describe("what a client has not acknowledged", () => {
    const AT = Date.UTC(2026, 0, 2, 3, 4, 5);
    const stampOf = (sent: Stanza | undefined): string | undefined =>
      sent?.element.getChild("delay", "urn:xmpp:delay")?.attrs.stamp;

    it("goes to another resource, or is kept, with the time at which it came and once", () => {
      const { router, hooks, connect } = makeRouter();
      const kept: Stanza[] = [];
      hooks.add("message/offline", "test", (payload) => {
        kept.push((payload as { stanza: Stanza }).stanza);
        return "stored";
      });
      const message = chat("x@b.test/y", "romeo@a.test/gone", "hi");
      void router.reroute(message, AT);
      const other = connect("romeo@a.test/here").available();
      void router.reroute(message, AT);
      // It had waited before: the first time stays.
      void router.reroute(other.received[0] as Stanza, AT + 1_000);
      assert.deepEqual(
        [...kept, ...other.received].map(stampOf),
        Array.from({ length: 3 }, () => "2026-01-02T03:04:05.000Z"),
      );
      assert.equal(other.received[1]?.element.getChildren("delay").length, 1);
      assert.equal(stampOf(message), undefined);
    });

    it("goes back as an error where it asks for an answer, and is dropped where it is only news", () => {
      const { router, remote, fates, connect } = makeRouter();
      const other = connect("romeo@a.test/here").available();
      const to = "romeo@a.test/gone";
      void router.reroute(stanza("iq", { from: "x@b.test/y", to, type: "get", id: "1" }), AT);
      void router.reroute(stanza("iq", { from: "x@b.test/y", to, type: "result", id: "2" }), AT);
      void router.reroute(stanza("presence", { from: "x@b.test/y", to }), AT);
      void router.reroute(chat("x@b.test/y", to, "news", "headline"), AT);
      assert.deepEqual(remote.map(errorOf), ["service-unavailable"]);
      assert.deepEqual(other.received, []);
      assert.deepEqual(fates, ["dropped"]);
    });

    it("of several copies only the last one that comes back goes on", () => {
      const { router, hooks, connect } = makeRouter();
      let kept = 0;
      hooks.add("message/offline", "test", () => {
        kept++;
        return "stored";
      });
      const sessions = ["romeo@a.test/1", "romeo@a.test/2"].map((full) => connect(full).available());
      const message = chat("x@b.test/y", "romeo@a.test", "hi");
      void router.route(message);
      const copies = router.copiesOf(message);
      for (const session of sessions) session.open = false;
      void router.reroute(message, AT, copies);
      assert.equal(kept, 0);
      void router.reroute(message, AT, copies);
      assert.equal(kept, 1);
      assert.equal(router.copiesOf(chat("x@b.test/y", "romeo@a.test/1", "hi")), undefined);
    });
  });
});
