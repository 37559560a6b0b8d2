import assert from "node:assert/strict";
import type { Element } from "../../../src/xml/element.ts";
import { StreamParser, type XmlLimits } from "../../../src/xml/stream-parser.ts";
import { bytewise, eventsOf, WIDE } from "../../support/parse-events.ts";
import { CASES, HEADER } from "./cases.ts";

function bytesOf(input: string | Buffer): Buffer {
  return typeof input === "string" ? Buffer.from(input) : input;
}

/** The children of a stream with the given opening tag. */
function elements(input: string, header = HEADER): Element[] {
  const found: Element[] = [];
  const parser = new StreamParser(
    {
      onHeader: () => undefined,
      onElement: (element) => found.push(element),
      onEndTag: () => undefined,
      onFault: (fault) => assert.fail(`${fault.condition}: ${fault.text}`),
    },
    WIDE,
  );
  parser.write(Buffer.from(header + input));
  return found;
}

function only(input: string, header = HEADER): Element {
  const [element, ...others] = elements(input, header);
  assert.equal(others.length, 0);
  assert.ok(element);
  return element;
}

const SERVER_HEADER =
  "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback' from='a.test' to='b.test' id='i' xml:lang='de'>";

describe("StreamParser", () => {
  describe("judges the form of its input, whole and byte by byte alike:", () => {
    for (const { name, input, bare, fault } of CASES) {
      it(`${name} is ${fault ?? "legal"}`, () => {
        const bytes = bare ? bytesOf(input) : Buffer.concat([Buffer.from(HEADER), bytesOf(input)]);
        const whole = eventsOf([bytes]);
        assert.deepEqual(eventsOf(bytewise(bytes)), whole);
        assert.deepEqual(
          whole.filter((event) => event.startsWith("fault")),
          fault === undefined ? [] : [`fault ${fault}`],
        );
        if (fault === undefined) assert.ok(whole.length > (bare ? 0 : 1));
      });
    }
  });

  it("reports the opening tag", () => {
    const [event] = eventsOf([Buffer.from(SERVER_HEADER)]);
    assert.deepEqual(JSON.parse(event?.slice(7) ?? ""), {
      from: "a.test",
      to: "b.test",
      id: "i",
      lang: "de",
      xmlns: "jabber:server",
      dialback: true,
    });
  });

  it("gives stanzas of the content namespace no xmlns, whether it was inherited or written", () => {
    for (const input of [
      "<message to='x'><body>a</body></message>",
      "<message xmlns='jabber:client' to='x'><body xmlns='jabber:client'>a</body></message>",
    ]) {
      assert.equal(only(input).toString(), '<message to="x"><body>a</body></message>');
    }
  });

  it("keeps the content namespace where something else is around it", () => {
    const input =
      "<message><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'/></forwarded></message>";
    assert.equal(only(input).toString(), input.replaceAll("'", '"'));
  });

  it("keeps every other namespace of a child of the stream", () => {
    const auth = only("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>");
    assert.ok(auth.is("auth", "urn:ietf:params:xml:ns:xmpp-sasl"));
  });

  it("declares prefixes of the opening tag again on the child that uses them", () => {
    const result = only("<db:result from='a' to='b'>key</db:result>", SERVER_HEADER);
    assert.ok(result.is("result", "jabber:server:dialback"));
    assert.equal(result.name, "db:result");
    const features = only("<stream:features><a xmlns='u'/></stream:features>", SERVER_HEADER);
    assert.ok(features.is("features", "http://etherx.jabber.org/streams"));
    const message = only("<message><x><db:y db:z='1'/></x></message>", SERVER_HEADER);
    assert.equal(message.toString(), '<message xmlns:db="jabber:server:dialback"><x><db:y db:z="1"/></x></message>');
  });

  it("does not declare a prefix that the stanza declares itself", () => {
    const input = "<message><a xmlns:db='u'><db:b/></a></message>";
    assert.equal(only(input, SERVER_HEADER).toString(), input.replaceAll("'", '"'));
  });

  it("merges text around references, CDATA and cuts", () => {
    const found: Element[] = [];
    const nothing = (): void => undefined;
    const parser = new StreamParser(
      { onHeader: nothing, onElement: (element) => found.push(element), onEndTag: nothing, onFault: nothing },
      WIDE,
    );
    for (const byte of bytewise(Buffer.from(`${HEADER}<message>a&lt;<![CDATA[<b>]]>c<x/>d</message>`)))
      parser.write(byte);
    assert.deepEqual(
      found[0]?.children.map((child) => (typeof child === "string" ? child : child.name)),
      ["a<<b>c", "x", "d"],
    );
  });

  it("keeps line ends out of attributes, however they were written", () => {
    assert.equal(only("<message a='1&#10;2&#13;3&#9;4\n5'/>").attrs.a, "1 2 3 4 5");
  });

  it("lets an attribute named __proto__ change no prototype", () => {
    const { attrs } = only("<message __proto__='evil' constructor='c'/>");
    assert.equal(Object.getPrototypeOf(attrs), Object.prototype);
    assert.deepEqual(Object.entries(attrs), [
      ["__proto__", "evil"],
      ["constructor", "c"],
    ]);
  });

  describe("limits what a peer may send:", () => {
    const tight: XmlLimits = { maxStanzaBytes: 400, maxDepth: 3, maxAttributes: 5 };
    const verdict = (input: string): string | undefined => {
      const bytes = Buffer.from(HEADER + input);
      const whole = eventsOf([bytes], tight);
      assert.deepEqual(eventsOf(bytewise(bytes), tight), whole);
      return whole.at(-1);
    };
    const POLICY = "fault policy-violation";

    it("bytes of a stanza", () => {
      assert.equal(verdict(`<message><body>${"x".repeat(400)}</body></message>`), POLICY);
      assert.equal(verdict(`<message a='${"x".repeat(400)}'/>`), POLICY);
      assert.equal(verdict(`<message><body>${"ä".repeat(200)}</body></message>`), POLICY);
      assert.match(verdict(`<message><body>${"ä".repeat(150)}</body></message>`) ?? "", /^element/);
    });

    it("bytes of a stanza that never ends", () => {
      assert.equal(verdict(`<message><body>${"x".repeat(500)}`), POLICY);
      assert.equal(verdict(`<message a='${"x".repeat(500)}`), POLICY);
      assert.equal(verdict(`<${"x".repeat(500)}`), POLICY);
      assert.equal(verdict(`<message></message${" ".repeat(500)}`), POLICY);
      assert.equal(verdict(`<message><![CDATA[${"x".repeat(500)}`), POLICY);
    });

    it("exactly as many bytes as allowed", () => {
      const stanza = (length: number): string => `<a xmlns='u'>${"x".repeat(length - 17)}</a>`;
      assert.match(verdict(stanza(400)) ?? "", /^element/);
      assert.equal(verdict(stanza(401)), POLICY);
      assert.match(verdict(stanza(400).repeat(3)) ?? "", /^element/);
    });

    it("bytes before and in the opening tag", () => {
      assert.deepEqual(eventsOf([Buffer.from(" ".repeat(500))], tight), [POLICY]);
      assert.deepEqual(eventsOf([Buffer.from(HEADER.replace("a.test", "a".repeat(400)))], tight), [POLICY]);
    });

    it("but not the white space between stanzas", () => {
      assert.match(verdict(`${" \n".repeat(1000)}<presence/>`) ?? "", /^element/);
    });

    it("depth", () => {
      assert.match(verdict("<a xmlns='u'><b><c/></b></a>") ?? "", /^element/);
      assert.equal(verdict("<a xmlns='u'><b><c><d/></c></b></a>"), POLICY);
    });

    it("attributes of an element", () => {
      assert.match(verdict("<message a='1' b='2' c='3' d='4' e='5'/>") ?? "", /^element/);
      assert.equal(verdict("<message a='1' b='2' c='3' d='4' e='5' f='6'/>"), POLICY);
    });

    it("elements of a stanza", () => {
      const events = eventsOf([Buffer.from(`${HEADER}<message>${"<a/>".repeat(20_001)}</message>`)]);
      assert.equal(events.at(-1), POLICY);
    });

    it("the length of a namespace that stanzas would repeat", () => {
      const header = HEADER.replace(" to=", ` xmlns:p='${"u".repeat(300)}' to=`);
      assert.deepEqual(eventsOf([Buffer.from(header)]), [POLICY]);
    });
  });

  it("stops while paused and goes on with what has come meanwhile", () => {
    const seen: string[] = [];
    const parser: StreamParser = new StreamParser(
      {
        onHeader: () => undefined,
        onElement: (element) => {
          seen.push(element.name);
          parser.pause();
        },
        onEndTag: () => seen.push("end"),
        onFault: (fault) => seen.push(fault.condition),
      },
      WIDE,
    );
    parser.write(Buffer.from(`${HEADER}<message/><presence/>`));
    parser.write(Buffer.from("<iq/></stream:st"));
    parser.write(Buffer.from("ream>"));
    assert.deepEqual(seen, ["message"]);
    parser.resume();
    assert.deepEqual(seen, ["message", "presence"]);
    parser.resume();
    parser.resume();
    assert.deepEqual(seen, ["message", "presence", "iq", "end"]);
  });

  it("begins anew with what came after the element that reset it, or drops that", () => {
    for (const drop of [false, true]) {
      const seen: string[] = [];
      const parser: StreamParser = new StreamParser(
        {
          onHeader: () => seen.push("header"),
          onElement: (element) => {
            seen.push(element.name);
            if (element.name === "auth") parser.reset(drop);
          },
          onEndTag: () => seen.push("end"),
          onFault: (fault) => seen.push(fault.condition),
        },
        WIDE,
      );
      parser.write(Buffer.from(`${HEADER}<auth xmlns='u'/> ${HEADER}<iq/>`));
      assert.deepEqual(seen, drop ? ["header", "auth"] : ["header", "auth", "header", "iq"]);
      if (drop) parser.write(Buffer.from(`${HEADER}<iq/>`));
      assert.deepEqual(seen, ["header", "auth", "header", "iq"]);
    }
  });

  it("needs no more than linear time for input that comes a byte at a time", () => {
    // Quadratic work takes minutes here; mocha's limit is the assertion.
    const big = { ...WIDE, maxStanzaBytes: 4_000_000 };
    for (const input of [
      `<message a='${"x".repeat(400_000)}`,
      `<message>${"x".repeat(400_000)}`,
      `<m>${"]".repeat(400_000)}`,
    ]) {
      assert.equal(eventsOf(bytewise(Buffer.from(HEADER + input)), big).length, 1);
    }
  });
});
