import assert from "node:assert/strict";
import { TcpNetwork } from "../../../src/net/tcp.ts";
import type { Network, Transport } from "../../../src/net/transport.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import type { PeerConnection } from "../../../src/testing/peer/connection.ts";
import type { ScriptedPeer } from "../../../src/testing/scripted-peer.ts";
import { silentLog } from "../../../src/util/log.ts";
import { NS } from "../../../src/xml/ns.ts";
import { TestAuthority } from "../../support/certificates.ts";
import {
  advanceUntil,
  answersPingsOf,
  certificatesOf,
  Federation,
  type PeerSetup,
  phaseOf,
  type Side,
  type SideOptions,
  until,
} from "../../support/federation.ts";

const OPENING = `<?xml version='1.0'?><stream:stream xmlns='${NS.server}' xmlns:stream='${NS.streams}' xmlns:db='${NS.dialback}'`;
const OPEN = `${OPENING} from='b.test' to='a.test' version='1.0'>`;
const KEY = "<db:result from='b.test' to='a.test'>some key</db:result>";
const ASK = `<r xmlns='${NS.sm}'/>`;
const message = (id: string, from = "x@b.test", to = "y@a.test"): string =>
  `<message id='${id}' from='${from}' to='${to}'><body>hi</body></message>`;

/** Somebody who connects and writes what he likes. */
interface Writer {
  readonly transport: Transport;
  text(): string;
  send(xml: string): void;
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
}

describe("a hostile server", () => {
  let clock: ManualClock;
  let network: Network;
  /** Our ends of the connections that were accepted, in order. */
  let accepted: Transport[];
  /** Our ends of those that we dialled. */
  let dialled: Transport[];
  let federation: Federation;
  let a: Side;

  beforeEach(() => {
    clock = new ManualClock();
    const tcp = new TcpNetwork({ clock, log: silentLog });
    accepted = [];
    dialled = [];
    network = {
      listen: (options, onConnection) =>
        tcp.listen(options, (connection) => {
          accepted.push(connection.transport);
          onConnection(connection);
        }),
      dial: async (options) => {
        const transport = await tcp.dial(options);
        dialled.push(transport);
        return transport;
      },
    };
    federation = new Federation(clock);
  });

  afterEach(() => federation.end());

  async function start(options: Partial<SideOptions> = {}): Promise<void> {
    a = await federation.side("a.test", { network, ...options });
  }

  const peer = (domain: string, setup?: PeerSetup): Promise<ScriptedPeer> => federation.peer(domain, setup);

  async function connect(): Promise<Writer> {
    const port = federation.routes.get("a.test")?.port ?? 0;
    const transport = await new TcpNetwork({ clock, log: silentLog }).dial({ host: "127.0.0.1", port });
    return writerOn(transport);
  }

  async function authenticated(): Promise<Writer> {
    const writer = await connect();
    writer.send(OPEN + KEY);
    await until(() => writer.text().includes('type="valid"'), "the key was accepted");
    return writer;
  }

  /** Opens our stream to b.test and returns the peer's end of it. */
  async function ourStreamTo(b: ScriptedPeer): Promise<PeerConnection> {
    a.message("first", "x@b.test");
    await until(() => b.stanzas.length === 1, "our stream is open");
    return b.connections.at(-1) as PeerConnection;
  }

  describe("that lies about who it is", () => {
    const answers: [string, (id: string) => string][] = [
      ["about another stream", () => "<db:verify from='b.test' to='a.test' id='other' type='valid'/>"],
      ["about another domain", (id) => `<db:verify from='c.test' to='a.test' id='${id}' type='valid'/>`],
      ["about another host", (id) => `<db:verify from='b.test' to='c.test' id='${id}' type='valid'/>`],
      ["to a question nobody asked", () => "<db:result from='b.test' to='a.test' type='valid'/>"],
      ["that says neither yes nor no", (id) => `<db:verify from='b.test' to='a.test' id='${id}'/>`],
      ["of type error", (id) => `<db:verify from='b.test' to='a.test' id='${id}' type='error'/>`],
    ];
    for (const [what, answer] of answers) {
      it(`gains nothing by an answer ${what}`, async () => {
        await start();
        await peer("b.test", {
          script: { verify: (_connection, element) => ({ say: answer(element?.attrs.id ?? "") }) },
        });
        const writer = await connect();
        writer.send(OPEN + KEY);
        const isRefused = (): boolean => /type="(error|invalid)"|\[closed\]/.test(writer.text());
        await advanceUntil(clock, isRefused, "the key was refused", 60_000);
        writer.send(message("m1"));
        await until(() => writer.text().includes("[closed]"), "closed");
        assert.match(writer.text(), /not-authorized|connection-timeout/);
        assert.equal(a.delivered.length, 0);
      });
    }

    it("gains nothing by calling its own key valid", async () => {
      await start();
      const writer = await connect();
      writer.send(`${OPEN}<db:result from='b.test' to='a.test' type='valid'/>${message("m1")}`);
      await until(() => writer.text().includes("[closed]"), "closed");
      assert.match(writer.text(), /not-authorized/);
      assert.equal(a.delivered.length, 0);
    });

    it("cannot send stanzas on a stream that we opened to it", async () => {
      await start();
      const b = await peer("b.test");
      const connection = await ourStreamTo(b);
      connection.send(message("m1") + ASK);
      await until(() => b.seen.some(({ element }) => element?.is("a", NS.sm)), "the stream was read so far");
      assert.equal(b.seen.find(({ element }) => element?.is("a", NS.sm))?.element?.attrs.h, "0");
      assert.equal(a.delivered.length, 0);
    });

    it("is not taken for a domain whose key was shown before TLS began", async () => {
      await start();
      const b = await peer("b.test", { script: { verify: "ignore" } });
      const writer = await connect();
      writer.send(OPEN + KEY);
      await until(() => b.seen.some(({ element }) => element?.is("verify", NS.dialback)), "the key is being verified");
      writer.send(`<starttls xmlns='${NS.tls}'/>`);
      await until(() => writer.text().includes("[closed]"), "closed");
      assert.doesNotMatch(writer.text(), /<proceed/);
    });
  });

  describe("with a certificate", () => {
    const authority = TestAuthority.create();
    const stranger = TestAuthority.create("a stranger");
    const auth = (name: string): string =>
      `<auth xmlns='${NS.sasl}' mechanism='EXTERNAL'>${name === "" ? "=" : Buffer.from(name).toString("base64")}</auth>`;

    /** Negotiates TLS as `certified` and opens the stream as `from`. */
    async function secured(certified: string, by: TestAuthority, from: string): Promise<Writer> {
      await start({ certificates: certificatesOf("a.test", authority), config: { require_tls: true } });
      const plain = await connect();
      const open = OPEN.replace("b.test", from);
      plain.send(`${open}<starttls xmlns='${NS.tls}'/>`);
      await until(() => plain.text().includes("<proceed"), "TLS may begin");
      const certificates = certificatesOf(certified, by);
      const options = { role: "client", certificates, serverName: "a.test", localName: certified } as const;
      await plain.transport.startTls(options);
      const writer = writerOn(plain.transport);
      writer.send(open);
      await until(() => writer.text().includes("</stream:features>"), "features");
      return writer;
    }

    const refused: [string, string, TestAuthority, string, string][] = [
      ["for another name", "c.test", authority, "b.test", "b.test"],
      ["for another name, without saying which", "c.test", authority, "b.test", ""],
      ["from nobody we trust", "b.test", stranger, "b.test", "b.test"],
      ["for a name below", "b.test", authority, "sub.b.test", "sub.b.test"],
    ];
    for (const [what, certified, by, from, name] of refused) {
      it(`${what} is neither offered EXTERNAL nor let in by it`, async () => {
        const writer = await secured(certified, by, from);
        assert.doesNotMatch(writer.text(), /EXTERNAL/);
        writer.send(auth(name).repeat(3));
        await until(() => writer.text().includes("[closed]"), "closed after three failures");
        assert.equal(writer.text().match(/<not-authorized\/>/g)?.length, 3);
        assert.doesNotMatch(writer.text(), /<success/);
      });
    }

    for (const name of ["c.test", "x@b.test", "b.test/x", "\0b.test", "b.test c.test"]) {
      it(`cannot act as ${JSON.stringify(name)}`, async () => {
        const writer = await secured("b.test", authority, "b.test");
        assert.match(writer.text(), /EXTERNAL/);
        writer.send(auth(name));
        await until(() => writer.text().includes("<not-authorized/>"), "refused");
        writer.send(message("m1"));
        await until(() => writer.text().includes("[closed]"), "closed");
        assert.equal(a.delivered.length, 0);
      });
    }

    it("cannot become another domain after EXTERNAL", async () => {
      const writer = await secured("b.test", authority, "b.test");
      writer.send(auth("b.test"));
      await until(() => writer.text().includes("<success"), "authenticated");
      writer.send(OPEN.replace("b.test", "c.test"));
      await until(() => writer.text().includes("[closed]"), "closed");
      assert.match(writer.text(), /invalid-from/);
    });
  });

  describe("that wants too much", () => {
    it("cannot have us look up one domain after the other", async () => {
      await start();
      const writer = await connect();
      writer.send(OPEN);
      let shown = 0;
      while (shown < 100 && !writer.text().includes("[closed]")) {
        writer.send(`<db:result from='d${shown++}.test' to='a.test'>k</db:result>`);
        await until(
          () => (writer.text().match(/<db:result/g)?.length ?? 0) >= shown || writer.text().includes("[closed]"),
          "answered or closed",
        );
      }
      assert.ok(shown <= 17, `${shown} keys were looked into`);
      assert.match(writer.text(), /policy-violation/);
    });

    it("can authenticate a bounded number of domains on one stream", async function () {
      this.timeout(30_000);
      await start();
      await peer("b.test");
      const at = federation.routes.get("b.test");
      const writer = await authenticated();
      for (let n = 0; n < 300; n++) {
        if (at !== undefined) federation.routes.set(`d${n}.test`, at);
        writer.send(`<db:result from='d${n}.test' to='a.test'>k</db:result>`);
        await until(() => (writer.text().match(/<db:result/g)?.length ?? 0) >= n + 2, "answered");
      }
      assert.equal(writer.text().match(/type="valid"/g)?.length, 256);
      assert.match(writer.text(), /resource-constraint/);
      writer.send(message("m1"));
      await until(() => a.delivered.length === 1, "the others are still served");
    });

    it("has its questions about keys given up when it goes", async () => {
      await start();
      const b = await peer("b.test", { script: { verify: "ignore" } });
      const writer = await connect();
      writer.send(OPEN + KEY);
      await until(() => b.connections.length === 1, "b.test is being asked");
      writer.transport.destroy();
      await until(() => a.s2s.status().incoming === 0, "the stream is over");
      await until(() => b.connections[0]?.over === true, "the question was given up");
      assert.equal(clock.now(), 0);
    });

    for (const [what, flood, unit] of [
      ["questions for acknowledgement", ASK, 500_000],
      ["keys to check", "<db:verify from='b.test' to='a.test' id='x'>k</db:verify>", 250_000],
    ] as const) {
      it(`cannot fill the memory with answers to ${what} that it does not read`, async function () {
        this.timeout(60_000);
        await start({ config: { rate: "1GiB", burst: "1GiB" } });
        await peer("b.test");
        const writer = await authenticated();
        writer.send(`<enable xmlns='${NS.sm}'/>`);
        await until(() => writer.text().includes("<enabled"), "acknowledgements");
        writer.transport.pause();
        writer.send(flood.repeat(unit));
        let most = 0;
        for (let quiet = 0, before = -1; quiet < 300 && writer.transport.buffered > 0; ) {
          await turns(1);
          most = Math.max(most, accepted[0]?.buffered ?? 0);
          quiet = before === writer.transport.buffered ? quiet + 1 : 0;
          before = writer.transport.buffered;
        }
        assert.ok(most < 1_000_000, `${most} characters wait`);
        writer.transport.resume();
        // It is read on once the peer reads; the time for so much is the test's.
        while (writer.transport.buffered > 0) await turns(1);
      });
    }

    it("cannot fill the memory by the stream that we opened to it either", async function () {
      this.timeout(60_000);
      await start({ config: { rate: "1GiB", burst: "1GiB" } });
      const b = await peer("b.test");
      const connection = await ourStreamTo(b);
      connection.transport.pause();
      connection.send(ASK.repeat(500_000));
      while (connection.transport.buffered > 0) await turns(1);
      await turns(50);
      const waits = Math.max(...dialled.map(({ buffered }) => buffered));
      assert.ok(waits < 1_000_000, `${waits} characters wait`);
    });

    it("cannot have us keep more links than a bounded number", async function () {
      this.timeout(60_000);
      await start({ sendersPresent: true });
      for (let n = 0; n < 20_010; n++) a.message(`m${n}`, `x@d${n}.test`);
      assert.equal(a.s2s.links().length, 20_000);
      assert.ok(a.returned.includes("m20009 resource-constraint"));
    });
  });

  describe("that breaks the rules of an authenticated stream", () => {
    const broken: [string, string, string][] = [
      ["is not XML", "<message><body></message>", "not-well-formed"],
      ["has an entity", "<message>&lol;</message>", "not-well-formed"],
      ["has a comment", "<!-- hello -->", "restricted-xml"],
      ["is too large", `<message>${"x".repeat(600_000)}</message>`, "policy-violation"],
      ["is too deep", "<x>".repeat(100), "policy-violation"],
    ];
    for (const [what, sent, condition] of broken) {
      it(`ends it with ${condition} when what it sends ${what}, and keeps what came before`, async () => {
        await start();
        await peer("b.test");
        const writer = await authenticated();
        writer.send(`<enable xmlns='${NS.sm}'/>${message("m1")}${sent}${message("m2")}`);
        await until(() => writer.text().includes("[closed]"), "closed");
        assert.match(writer.text(), new RegExp(`<stream:error><${condition} `));
        assert.deepEqual(
          a.delivered.map(({ id }) => id),
          ["m1"],
        );
      });
    }

    it("loses the one stanza with a malformed address and nothing else", async () => {
      await start();
      await peer("b.test");
      const writer = await authenticated();
      writer.send(
        `<enable xmlns='${NS.sm}'/>${message("m1", "x@b.test", "two words@a.test")}${message("m2", "x@b.test/\u0378")}` +
          `${message("m3")}${ASK}`,
      );
      await until(() => writer.text().includes("h='3'"), "all are dealt with");
      assert.deepEqual(
        a.delivered.map(({ id, type, to }) => `${id} ${type} ${to?.toString()}`),
        ["m1 error x@b.test", "m3 normal y@a.test"],
      );
      assert.match(a.delivered[0]?.text ?? "", /jid-malformed/);
    });

    it("cannot hide another domain behind a malformed address", async () => {
      await start();
      await peer("b.test");
      const writer = await authenticated();
      writer.send(message("m1", "x@b.test", "two words@c.test"));
      await until(() => writer.text().includes("[closed]"), "closed");
      assert.match(writer.text(), /host-unknown/);
    });
  });

  describe("that we have a stream to", () => {
    for (const h of ["-1", "", "x", "1.5", "2", "4294967295", "4294967296", "99999999999", "0x1", " 1"]) {
      it(`breaks it by acknowledging ${JSON.stringify(h)}, and each stanza has one fate`, async () => {
        await start();
        const b = await peer("b.test", {
          abilities: { sm: true },
          script: { ack: { act: { say: `<a xmlns='${NS.sm}' h='${h}'/>` } } },
        });
        a.message("m1", "x@b.test");
        await advanceUntil(clock, () => a.fates.length === 1, "it has its fate", 60_000);
        await clock.advance(60_000);
        assert.deepEqual(a.counts, { returned: 1 });
        assert.equal(b.stanzas.length, 1);
      });
    }

    it("does no harm by acknowledgements that were not agreed on", async () => {
      await start();
      const b = await peer("b.test", { script: { pong: answersPingsOf(() => a) } });
      const connection = await ourStreamTo(b);
      connection.send(`<a xmlns='${NS.sm}' h='1'/><a xmlns='${NS.sm}' h='x'/><enabled xmlns='${NS.sm}'/>`);
      await advanceUntil(clock, () => a.fates.length === 1, "proved", 60_000);
      assert.deepEqual(a.counts, { "proved/pong": 1 });
      assert.equal(b.connections.length, 1);
    });

    it("gets nothing by features that never end", async () => {
      await start();
      const endless = `${OPENING} id='1' version='1.0'><stream:features>${"<x xmlns='urn:x'/>".repeat(40_000)}`;
      await peer("b.test", { script: { header: { act: { say: endless } } } });
      a.message("m1", "x@b.test");
      await until(() => a.returned.length === 1, "it came back");
      assert.deepEqual(a.returned, ["m1 remote-server-timeout"]);
    });

    it("is left behind when it sends for ever after our end", async () => {
      await start();
      let sending = true;
      const b = await peer("b.test", { script: { closing: "ignore" } });
      const connection = await ourStreamTo(b);
      const writer = await authenticated();
      const phase = phaseOf(clock, 20_000);
      let over = false;
      const drained = a.s2s.drain(phase).then(() => {
        over = true;
      });
      const flood = (async () => {
        for (; sending; await turns(1)) {
          connection.send("<x xmlns='urn:x'/>");
          writer.send(message("late"));
        }
      })();
      await advanceUntil(clock, () => over, "the drain is over", 20_001);
      await drained;
      phase.end();
      sending = false;
      await flood;
      assert.equal(a.fates.length, 1);
    });

    it("is told once that the key was refused, whatever it says about why", async () => {
      await start();
      const say =
        "<db:result from='b.test' to='a.test' type='error'><error><x/></error></db:result>" +
        "<db:result from='b.test' to='a.test' type='valid'/>";
      const b = await peer("b.test", { script: { dialback: { act: { say } } } });
      a.message("m1", "x@b.test");
      await until(() => a.returned.length === 1, "it came back");
      assert.deepEqual(a.returned, ["m1 remote-server-timeout"]);
      assert.equal(b.stanzas.length, 0);
    });
  });
});

function writerOn(transport: Transport): Writer {
  const end = "</stream:stream>";
  let text = "";
  // Looked at alone: the whole can be many megabytes.
  let tail = "";
  transport.setReader({
    onData: (chunk) => {
      const more = chunk.toString();
      text += more;
      tail = (tail + more).slice(-end.length);
      if (tail === end) transport.end();
    },
    onEnd: () => transport.end(),
    onDrain: () => undefined,
    onClose: () => {
      text += "[closed]";
    },
  });
  return { transport, text: () => text, send: (xml) => void transport.write(xml) };
}
