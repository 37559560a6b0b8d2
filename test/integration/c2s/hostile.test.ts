import assert from "node:assert/strict";
import { WatchedClock } from "../../../src/testing/leaks/watched-clock.ts";
import type { RawClient } from "../../../src/testing/raw-client.ts";
import { startServer, type TestServer } from "../../../src/testing/start-server.ts";
import { systemClock } from "../../../src/util/clock.ts";
import { HEADER, Wire, waitUntil } from "../../support/wire.ts";

const SASL = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";
const STARTTLS = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const BIND = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
const KIB = 1024;

/** The first bytes of a TLS 1.2 ClientHello record. */
const CLIENT_HELLO = Buffer.from("16030100c8010000c40303", "hex");

/** What a client that has not logged in may say, and how its stream ends. */
const BEFORE_LOGIN: readonly (readonly [what: string, input: string | Buffer, condition: string])[] = [
  ["a comment", `${HEADER}<!-- hello -->`, "restricted-xml"],
  ["a processing instruction", `${HEADER}<?php echo 1 ?>`, "restricted-xml"],
  ["a DTD", `<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a "aaaa">]>`, "restricted-xml"],
  ["a DTD inside of the stream", `${HEADER}<!DOCTYPE x>`, "restricted-xml"],
  // An entity that nobody declared, because nobody can, is not well-formed (XML §4.1) as well as restricted.
  ["an entity", `${HEADER}<auth ${SASL}>&lol;</auth>`, "not-well-formed"],
  ["an entity in an attribute", `${HEADER}<auth ${SASL} mechanism='&lol;'/>`, "not-well-formed"],
  ["a bare ampersand", `${HEADER}<auth ${SASL}>& </auth>`, "not-well-formed"],
  ["tags that do not match", `${HEADER}<a xmlns='x'></b>`, "not-well-formed"],
  ["an attribute twice", `${HEADER}<a xmlns='x' b='' b=''/>`, "not-well-formed"],
  ["a prefix that is not bound", `${HEADER}<a:b/>`, "bad-namespace-prefix"],
  ["a prefix on a stanza", `${HEADER}<c:iq xmlns:c='jabber:client'/>`, "bad-namespace-prefix"],
  ["what is not UTF-8", Buffer.concat([Buffer.from(`${HEADER}<a xmlns='`), Buffer.of(0xc0, 0xaf)]), "not-well-formed"],
  ["a character XML does not have", `${HEADER}<auth ${SASL}>\u0000</auth>`, "not-well-formed"],
  ["UTF-16", Buffer.from(`\ufeff${HEADER}`, "utf16le"), "not-well-formed"],
  ["another encoding", HEADER.replace("?>", " encoding='iso-8859-1'?>"), "unsupported-encoding"],
  ["XML 1.1", HEADER.replace("'1.0'?", "'1.1'?"), "unsupported-version"],
  ["a header of no version", HEADER.replace(" version='1.0'>", ">"), "unsupported-version"],
  ["a header of version 0.9", HEADER.replace(" version='1.0'>", " version='0.9'>"), "unsupported-version"],
  ["a header of another namespace", HEADER.replace("etherx.jabber.org", "example.org"), "invalid-namespace"],
  ["a stream between servers", HEADER.replace("jabber:client", "jabber:server"), "invalid-namespace"],
  ["a host that is not served", HEADER.replace("a.test", "other.test"), "host-unknown"],
  ["a host that is no address", HEADER.replace("a.test", "@@"), "host-unknown"],
  ["an account in place of a host", HEADER.replace("a.test", "romeo@a.test"), "host-unknown"],
  ["no host", HEADER.replace(" to='a.test'", ""), "host-unknown"],
  ["a stanza before the header", "<message to='romeo@a.test'/>", "invalid-namespace"],
  ["a stanza before the login", `${HEADER}<message to='romeo@a.test'/>`, "not-authorized"],
  ["binding before the login", `${HEADER}${BIND}`, "not-authorized"],
  ["an element nobody knows", `${HEADER}<hello xmlns='urn:example'/>`, "not-authorized"],
  ["text between elements", `${HEADER}hello`, "bad-format"],
  ["elements nested too deeply", `${HEADER}${"<a xmlns='x'>".repeat(17)}`, "policy-violation"],
  ["too many attributes", `${HEADER}<a xmlns='x'${attributes(32)}/>`, "policy-violation"],
  ["an element that is too big", `${HEADER}<a xmlns='x'>${"a".repeat(17 * KIB)}</a>`, "policy-violation"],
  ["a tag without end", `${HEADER}<a xmlns='${"x".repeat(17 * KIB)}`, "policy-violation"],
  ["a header without end", `<stream:stream to='${"x".repeat(17 * KIB)}`, "policy-violation"],
  ["a header with a flood of namespaces", HEADER.replace(" to=", `${namespaces(40)} to=`), "policy-violation"],
  ["HTTP", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", "not-well-formed"],
  ["TLS where it does not begin with that", CLIENT_HELLO, "not-well-formed"],
];

function attributes(count: number): string {
  return Array.from({ length: count }, (_, index) => ` a${index}=''`).join("");
}

function namespaces(count: number): string {
  return Array.from({ length: count }, (_, index) => ` xmlns:n${index}='urn:${index}'`).join("");
}

function plain(password: string): string {
  return Buffer.from(`\0juliet\0${password}`).toString("base64");
}

describe("hostile input from a client", () => {
  const clock = new WatchedClock(systemClock);
  let running: TestServer;
  let witness: RawClient;
  let timers: number;

  before(async () => {
    running = await startServer(
      {
        hosts: [{ name: "a.test" }, { name: "b.test" }],
        c2s: { close_timeout: "1s", rate: "64MiB", burst: "64MiB", stall_timeout: "1s", max_unread: "256KiB" },
      },
      { clock },
    );
    witness = await running.login("romeo", "witness");
    witness.presence();
    await witness.iq("get", "<ping xmlns='urn:xmpp:ping'/>", "a.test");
    timers = clock.pendingTimers;
  });

  after(() => running.dispose());

  // Whatever was done to it, the server serves the others and is rid of the one who did it.
  afterEach(async () => {
    await witness.iq("get", "<ping xmlns='urn:xmpp:ping'/>", "a.test");
    const status = () => running.status;
    await waitUntil(() => status().connections === 1, "the connection to be gone");
    assert.equal(status().sessions, 1);
    await waitUntil(() => clock.pendingTimers <= timers, "the timers to be gone");
  });

  function assertEnd(wire: Wire, condition: string | undefined): void {
    assert.equal(wire.condition, condition, wire.received);
    assert.match(wire.received, /<stream:stream [^>]*id='[^']+'/);
    assert.match(wire.received, /<\/stream:stream>$/);
    assert.deepEqual([wire.fin, wire.code], [true, undefined]);
  }

  describe("before the login ends the stream:", () => {
    for (const [what, input, condition] of BEFORE_LOGIN) {
      it(what, async () => {
        const wire = await Wire.plain(running.ports.c2s);
        wire.send(input);
        await wire.ended;
        assertEnd(wire, condition);
      });
    }

    it("byte by byte as well as at once", async () => {
      for (const [, input, condition] of BEFORE_LOGIN.filter((row) => row[1].length < 400)) {
        const wire = await Wire.plain(running.ports.c2s);
        for (const byte of Buffer.from(input)) {
          wire.send(Buffer.of(byte));
          await clock.turn();
        }
        await wire.ended;
        assert.equal(wire.condition, condition, `${String(input)} -> ${wire.received}`);
      }
    });

    it("with a header first that says who we are, when the client did not open the stream", async () => {
      const wire = await Wire.plain(running.ports.c2s);
      wire.send("<");
      wire.send("!--");
      await wire.ended;
      assert.match(wire.received, /^<\?xml version='1.0'\?><stream:stream [^>]*from='a.test'/);
      assertEnd(wire, "restricted-xml");
    });

    it("what follows a fault or a closing tag is read and not heeded", async () => {
      const closed = await Wire.plain(running.ports.c2s);
      closed.send(`${HEADER}</stream:stream><message/><!-- -->${"x".repeat(100 * KIB)}`);
      await closed.ended;
      assertEnd(closed, undefined);
      const failed = await Wire.plain(running.ports.c2s);
      failed.send(`${HEADER}<message/><!-- -->${"x".repeat(100 * KIB)}`);
      await failed.ended;
      assertEnd(failed, "not-authorized");
    });

    it("a flood after the closing tag ends with the connection", async () => {
      const wire = await Wire.plain(running.ports.c2s);
      wire.send(`${HEADER}</stream:stream>`);
      const flood = Buffer.alloc(64 * KIB, "x");
      for (let sent = 0; sent < 64 && !wire.socket.closed; sent++) {
        wire.send(flood);
        await clock.turn();
      }
      await wire.ended;
    });
  });

  describe("around TLS:", () => {
    it("plain text where TLS is to begin ends the connection", async () => {
      const wire = await Wire.plain(running.ports.c2sTls);
      wire.send(HEADER);
      await wire.ended;
      assert.doesNotMatch(wire.received, /stream/);
    });

    it("garbage in place of the handshake ends the connection", async () => {
      for (const port of [running.ports.c2s, running.ports.c2sTls]) {
        const wire = await Wire.plain(port);
        if (port === running.ports.c2s) {
          wire.send(HEADER + STARTTLS);
          await wire.until(/<proceed/);
        }
        wire.send(Buffer.alloc(4096, 0x16));
        await wire.ended;
      }
    });

    it("a connection that breaks in the middle of the handshake leaves nothing behind", async () => {
      for (const how of ["end", "destroy", "resetAndDestroy"] as const) {
        const wire = await Wire.plain(running.ports.c2sTls);
        wire.send(CLIENT_HELLO);
        await clock.sleep(20);
        wire.socket[how]();
        if (how === "end") await wire.ended;
      }
    });

    it("what was sent in plain text behind STARTTLS is not taken for what came inside", async () => {
      const client = running.client({ username: "juliet" });
      await client.connect();
      client.send(`${HEADER}${STARTTLS}${HEADER}<auth ${SASL} mechanism='PLAIN'>${plain("wrong")}</auth>`);
      await client.waitFor((xml) => xml.startsWith("<proceed"));
      await clock.sleep(50);
      const seen = client.received.map(({ xml }) => xml.slice(0, 16));
      assert.deepEqual(
        seen,
        ["<stream:stream x", "<stream:features", '<proceed xmlns="'],
        "features and proceed, and nothing of SASL",
      );
      client.destroy();
    });

    it("a second STARTTLS is refused and ends the stream", async () => {
      const wire = await Wire.secure(running.ports.c2sTls);
      wire.send(HEADER + STARTTLS);
      await wire.ended;
      assert.match(wire.received, /<failure xmlns="urn:ietf:params:xml:ns:xmpp-tls"\/><\/stream:stream>$/);
      assertEnd(wire, undefined);
    });

    it("no password is taken without it", async () => {
      const wire = await Wire.plain(running.ports.c2s);
      wire.send(HEADER);
      for (let attempt = 0; attempt < 3; attempt++) {
        wire.send(`<auth ${SASL} mechanism='PLAIN'>${plain("orchard")}</auth>`);
      }
      await wire.ended;
      assert.equal(wire.received.split("<encryption-required/>").length, 4);
      assertEnd(wire, "policy-violation");
    });
  });

  describe("in SASL:", () => {
    const FAILURES: readonly (readonly [what: string, input: string, condition: string])[] = [
      ["an unknown mechanism", `<auth ${SASL} mechanism='CRAM-MD5'/>`, "invalid-mechanism"],
      ["no mechanism", `<auth ${SASL}/>`, "invalid-mechanism"],
      ["a mechanism named after what objects inherit", `<auth ${SASL} mechanism='constructor'/>`, "invalid-mechanism"],
      ["a response to nothing", `<response ${SASL}>AAAA</response>`, "malformed-request"],
      ["an element of no meaning", `<hello ${SASL}/>`, "malformed-request"],
      ["an abort of nothing", `<abort ${SASL}/>`, "aborted"],
      ["what is not base64", `<auth ${SASL} mechanism='PLAIN'>%%%</auth>`, "incorrect-encoding"],
      ["a long text", `<auth ${SASL} mechanism='PLAIN'>${"A".repeat(15 * KIB)}</auth>`, "malformed-request"],
      ["a SCRAM message that is none", `<auth ${SASL} mechanism='SCRAM-SHA-1'>AAAA</auth>`, "malformed-request"],
      [
        "a second beginning in the middle of an exchange",
        `<auth ${SASL} mechanism='PLAIN'/><auth ${SASL} mechanism='PLAIN'/>`,
        "malformed-request",
      ],
    ];

    for (const [what, input, condition] of FAILURES) {
      it(`${what} is refused, and again and again ends the stream`, async () => {
        const wire = await Wire.secure(running.ports.c2sTls);
        wire.send(HEADER + input.repeat(50));
        await wire.ended;
        const attempts = condition === "not-authorized" ? 3 : 10;
        assert.equal(wire.received.split(`<${condition}/></failure>`).length, attempts + 1, wire.received);
        assertEnd(wire, "policy-violation");
      });
    }

    it("only one of many pipelined logins is worked on at a time", async () => {
      const wire = await Wire.secure(running.ports.c2sTls);
      wire.send(HEADER + `<auth ${SASL} mechanism='PLAIN'>${plain("wrong")}</auth>`.repeat(500));
      await wire.ended;
      assert.equal(wire.received.split("<not-authorized/></failure>").length, 4);
      assertEnd(wire, "policy-violation");
    });

    it("a stanza behind the login, without a new header, ends the stream", async () => {
      const wire = await Wire.secure(running.ports.c2sTls);
      wire.send(`${HEADER}<auth ${SASL} mechanism='PLAIN'>${plain("orchard")}</auth><presence/>`);
      await wire.ended;
      assert.match(wire.received, /<success/);
      assert.equal(wire.condition, "invalid-namespace");
    });
  });

  describe("after the login:", () => {
    async function loggedIn(): Promise<Wire> {
      const wire = await Wire.secure(running.ports.c2sTls);
      wire.send(`${HEADER}<auth ${SASL} mechanism='PLAIN'>${plain("orchard")}</auth>`);
      await wire.until(/<success/);
      return wire;
    }

    const UNBOUND: readonly (readonly [what: string, input: string, condition: string])[] = [
      ["a second login", `${HEADER}<auth ${SASL} mechanism='PLAIN'>AAAA</auth>`, "not-authorized"],
      ["STARTTLS", `${HEADER}${STARTTLS}`, "not-authorized"],
      ["a stanza before there is a resource", `${HEADER}<message to='romeo@a.test/witness'/>`, "not-authorized"],
      ["another host", HEADER.replace("a.test", "b.test"), "not-authorized"],
      [
        "requests to bind without end",
        HEADER + "<iq type='get' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>".repeat(1000),
        "policy-violation",
      ],
      [
        "resources that are not acceptable without end",
        HEADER + BIND.replace("/>", `><resource>${"x".repeat(1024)}</resource></bind>`).repeat(1000),
        "policy-violation",
      ],
    ];
    for (const [what, input, condition] of UNBOUND) {
      it(`${what} ends a stream without a resource`, async () => {
        const wire = await loggedIn();
        wire.send(input);
        await wire.ended;
        assertEnd(wire, condition);
      });
    }

    const BOUND: readonly (readonly [what: string, input: string, condition: string])[] = [
      ["a login", `<auth ${SASL} mechanism='PLAIN'>AAAA</auth>`, "unsupported-stanza-type"],
      ["STARTTLS", STARTTLS, "unsupported-stanza-type"],
      ["an element nobody knows", "<hello xmlns='urn:example'/>", "unsupported-stanza-type"],
      ["features of its own", "<stream:features/>", "unsupported-stanza-type"],
      ["another's address", "<message from='romeo@a.test' to='romeo@a.test/witness'/>", "invalid-from"],
      ["a stanza of another kind of stream", "<message xmlns='jabber:server'/>", "unsupported-stanza-type"],
      ["a stanza that is too big", `<message><body>${"x".repeat(256 * KIB)}</body></message>`, "policy-violation"],
      ["elements nested too deeply", `<message>${"<a>".repeat(64)}`, "policy-violation"],
      ["too many attributes", `<message${attributes(65)}/>`, "policy-violation"],
      ["too many elements", `<message>${"<a/>".repeat(20_001)}</message>`, "policy-violation"],
      ["a comment", "<message><!-- x --></message>", "restricted-xml"],
      ["an entity", "<message><body>&lol;</body></message>", "not-well-formed"],
      ["tags that do not match", "<message><body></message>", "not-well-formed"],
    ];
    for (const [what, input, condition] of BOUND) {
      it(`${what} ends the stream, and what follows is not heeded`, async () => {
        const client = await running.login("juliet", "hostile", { security: "direct" });
        const heard = witness.received.length;
        client.send(`${input}<message to='romeo@a.test/witness'><body>after</body></message>`);
        const ending = await client.ended;
        assert.deepEqual([ending.streamError, ending.closingTag, ending.how], [condition, true, "fin"]);
        await witness.iq("get", "<ping xmlns='urn:xmpp:ping'/>", "a.test");
        assert.doesNotMatch(JSON.stringify(witness.received.slice(heard)), /after/);
      });
    }

    it("a bigger stanza and deeper elements are taken than before", async () => {
      const client = await running.login("juliet", "big");
      const heard = witness.received.length;
      const deep = `${"<a xmlns='x'>".repeat(40)}${"</a>".repeat(40)}`;
      client.send(`<message to='romeo@a.test/witness'><body>${"x".repeat(200 * KIB)}</body>${deep}</message>`);
      await witness.waitFor((xml) => xml.length > 200 * KIB, { since: heard });
      await client.close();
    });

    it("a second request to bind is refused and changes nothing", async () => {
      const client = await running.login("juliet", "one");
      assert.match(await client.iq("set", "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"), /type="error"/);
      await waitUntil(() => running.status.sessions === 2, "two sessions");
      await client.close();
    });

    it("a hundred thousand requests at once are answered, and the others are served meanwhile", async () => {
      const client = await running.login("juliet", "flood", { record: false });
      const count = 100_000;
      let answers = 0;
      let answersBeforeWitness = -1;
      const all = new Promise<void>((resolve) => {
        client.onElement = () => {
          if (++answers === count) resolve();
        };
      });
      client.send("<iq type='get' id='1' to='a.test'><ping xmlns='urn:xmpp:ping'/></iq>".repeat(count));
      await waitUntil(() => answers > 0, "the first answer");
      await witness.iq("get", "<ping xmlns='urn:xmpp:ping'/>", "a.test");
      answersBeforeWitness = answers;
      await all;
      assert.ok(answersBeforeWitness < count, "the witness did not wait for the flood to be over");
      await client.close();
    }).timeout(60_000);

    for (const [what, request] of [
      ["requests", (id: string) => `<iq type='get' id='${id}' to='a.test'><ping xmlns='urn:xmpp:ping'/></iq>`],
      ["requests that are refused", (id: string) => `<iq type='get' id='${id}' to='a.test'/>`],
      [
        "requests for sessions",
        (id: string) => `<iq type='set' id='${id}'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>`,
      ],
      ["messages to itself", (id: string) => `<message id='${id}' to='juliet@a.test/deaf'/>`],
    ] as const) {
      it(`a client that sends ${what} and never reads the answers is slowed down, then ended`, async () => {
        const client = await running.login("juliet", "deaf", { record: false });
        client.stopReading();
        client.send(request("x".repeat(8 * KIB)).repeat(4000));
        await waitUntil(() => running.status.sessions === 1, "the session to end");
        assert.ok(client.unsent > 0, "the server did not take in all of it");
        await waitUntil(() => running.status.connections === 1, "the connection to be gone");
        client.destroy();
      }).timeout(30_000);
    }

    it("a client that does not read slows down who writes to it, and is ended; what is for it then is kept", async () => {
      const slow = await running.login("juliet", "slow", { record: false });
      slow.presence();
      await waitUntil(() => running.status.sessions === 2, "the session");
      slow.stopReading();
      const sender = await running.login("romeo", "sender", { record: false });
      const body = "x".repeat(8 * KIB);
      sender.send(`<message to='juliet@a.test/slow'><body>${body}</body></message>`.repeat(4000));
      const answer = sender.iq("get", "<ping xmlns='urn:xmpp:ping'/>", "a.test");
      await answer;
      assert.equal(running.status.sessions, 2, "the sender came through only when the reader had been ended");
      const successor = await running.login("juliet", "successor");
      successor.presence();
      await successor.waitFor((xml) => xml.startsWith("<message"));
      for (const client of [slow, sender, successor]) client.destroy();
    }).timeout(30_000);

    it("what is for a client that broke the rules is kept, although its connection is still there", async () => {
      const broken = await running.login("juliet", "broken");
      broken.presence();
      await broken.iq("get", "<ping xmlns='urn:xmpp:ping'/>", "a.test");
      broken.stopReading();
      broken.send("<a></b>");
      await waitUntil(() => running.status.sessions === 1, "the session to end");
      assert.equal(running.status.connections, 2, "the connection is still closing");
      witness.send("<message to='juliet@a.test/broken'><body>kept</body></message>");
      await witness.iq("get", "<ping xmlns='urn:xmpp:ping'/>", "a.test");
      const successor = await running.login("juliet", "successor");
      successor.presence();
      await successor.waitFor((xml) => xml.includes("kept"));
      successor.destroy();
      broken.destroy();
    });

    it("a connection that breaks in any way ends its session", async () => {
      for (const how of ["end", "destroy", "resetAndDestroy"] as const) {
        const client = await running.login("juliet", how, { security: "direct" });
        client.send("<message to='romeo@a.test/witness'><body>cut");
        await clock.sleep(10);
        if (how === "end") client.halfClose();
        else client.destroy();
        await client.ended;
      }
    });

    it("many who bind the same resource at once leave one session, and the others are told", async () => {
      const clients = await Promise.all(
        Array.from({ length: 12 }, async () => {
          const client = running.client({ username: "juliet", resource: "same", security: "direct" });
          await client.connect();
          await client.authenticate();
          return client;
        }),
      );
      const bound = await Promise.allSettled(clients.map((client) => client.bind()));
      assert.ok(bound.some(({ status }) => status === "fulfilled"));
      await waitUntil(() => running.status.connections === 2, "one of them to be left");
      assert.equal(running.status.sessions, 2);
      const ended: string[] = [];
      for (const client of clients) void client.ended.then(({ streamError }) => ended.push(streamError ?? "none"));
      await waitUntil(() => ended.length >= 11, "the others to be told");
      assert.deepEqual(ended, Array<string>(11).fill("conflict"));
      for (const client of clients) client.destroy();
    });
  });
});
