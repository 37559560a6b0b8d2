import assert from "node:assert/strict";
import { Jid } from "../../../src/jid/jid.ts";
import { readRemoteStanza, readStanza } from "../../../src/stanza/read-stanza.ts";
import { errorReply, StanzaError } from "../../../src/stanza/stanza-error.ts";
import { type Element, xml } from "../../../src/xml/element.ts";

const CLIENT = Jid.of("ann", "a.test", "sofa");

function accepted(element: Element): string {
  const read = readStanza(element, CLIENT);
  if (read.kind !== "stanza") return assert.fail(read.kind);
  return read.stanza.text;
}

function refused(element: Element): string {
  const read = readStanza(element, CLIENT);
  if (read.kind !== "bad") return assert.fail(read.kind);
  return `${read.error.condition} ${read.reply?.text ?? "unanswered"}`;
}

describe("readStanza", () => {
  it("makes the client's full JID the sender, whatever of it the client said", () => {
    assert.equal(accepted(xml("message", { to: "b@b.test" })), '<message to="b@b.test" from="ann@a.test/sofa"/>');
    assert.equal(
      accepted(xml("message", { from: "ann@a.test", to: "b@b.test" })),
      '<message from="ann@a.test/sofa" to="b@b.test"/>',
    );
    assert.equal(accepted(xml("presence", { from: "ann@a.test/sofa" })), '<presence from="ann@a.test/sofa"/>');
  });

  it("refuses to speak for anybody else", () => {
    for (const from of ["bob@a.test", "ann@a.test/desk", "a.test", "@", "ann@a.test.evil"]) {
      assert.equal(readStanza(xml("message", { from }), CLIENT).kind, "wrong-sender");
    }
  });

  it("prepares the addressee", () => {
    assert.equal(
      accepted(xml("message", { to: "Bob@B.test/X" })),
      '<message to="bob@b.test/X" from="ann@a.test/sofa"/>',
    );
    const reply = refused(xml("iq", { to: "@b.test", id: "1", type: "get" }, xml("q", { xmlns: "u" })));
    assert.match(reply, /^jid-malformed <iq type="error" id="1" from="ann@a.test" to="ann@a.test\/sofa">/);
  });

  it("knows what is no stanza", () => {
    for (const element of [xml("r", { xmlns: "urn:xmpp:sm:3" }), xml("message", { xmlns: "u" }), xml("constructor")]) {
      assert.equal(readStanza(element, CLIENT).kind, "not-a-stanza");
    }
  });

  it("wants an iq to have an id, a type and the children that go with it", () => {
    const payload = xml("q", { xmlns: "u" });
    for (const element of [
      xml("iq", { type: "get" }, payload),
      xml("iq", { type: "get", id: "" }, payload),
      xml("iq", { id: "1" }, payload),
      xml("iq", { id: "1", type: "toString" }, payload),
      xml("iq", { id: "1", type: "get" }, "text"),
      xml("iq", { id: "1", type: "set" }, payload, xml("q2")),
    ]) {
      assert.match(refused(element), /^bad-request <iq type="error"/);
    }
    assert.equal(refused(xml("iq", { id: "1", type: "result" }, payload, payload)), "bad-request unanswered");
    accepted(xml("iq", { id: "1", type: "result" }));
    accepted(xml("iq", { id: "1", type: "error" }, payload, xml("error")));
    accepted(xml("iq", { id: "1", type: "get" }, "\n", payload, "\n"));
  });

  it("knows the types of presence, and lets any message pass", () => {
    assert.match(refused(xml("presence", { type: "available!" })), /^bad-request <presence type="error"/);
    for (const type of [undefined, "unavailable", "probe", "subscribe", "error"]) accepted(xml("presence", { type }));
    accepted(xml("message", { type: "private" }));
  });

  it("wants both addresses of another server", () => {
    for (const attrs of [{ from: "a@b.test" }, { to: "a@b.test" }, { from: "@", to: "a@b.test" }, {}]) {
      assert.equal(readRemoteStanza(xml("message", attrs)).kind, "improper-addressing");
    }
    const read = readRemoteStanza(xml("message", { from: "X@B.test", to: "y@a.test" }));
    assert.equal(read.kind === "stanza" && read.stanza.text, '<message from="x@b.test" to="y@a.test"/>');
  });
});

describe("StanzaError", () => {
  it("is read from what it wrote", () => {
    const error = new StanzaError("resource-constraint", "full", "cancel");
    assert.deepEqual(StanzaError.read(xml("message", { type: "error" }, error.toElement())), error);
    assert.equal(StanzaError.read(xml("message")), undefined);
    assert.equal(StanzaError.read(xml("iq", {}, xml("error", { type: "odd" })))?.condition, "undefined-condition");
  });

  it("is never told of an error or a result", () => {
    for (const element of [
      xml("message", { type: "error", to: "b@b.test" }),
      xml("iq", { type: "result", id: "1", to: "b@b.test" }),
    ]) {
      const read = readStanza(element, CLIENT);
      assert.ok(read.kind === "stanza");
      assert.equal(errorReply(read.stanza, new StanzaError("service-unavailable")), undefined);
    }
  });
});
