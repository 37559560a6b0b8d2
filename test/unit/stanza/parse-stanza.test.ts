import assert from "node:assert/strict";
import { parseStanza } from "../../../src/stanza/parse-stanza.ts";
import { xml } from "../../../src/xml/element.ts";
import { chat, stanza } from "../../support/stanzas.ts";

describe("parseStanza", () => {
  it("reads back what was written, short or long, with its addresses", () => {
    const odd = 'a <b> & "c" \u00e9 \u{1f600}';
    for (const written of [
      chat("romeo@a.test/1", "juliet@a.test", "x"),
      chat("romeo@a.test/1", "juliet@a.test", odd.repeat(1000)),
      stanza("presence", { from: "a@a.test/x" }),
      stanza("iq", { from: "a.test", to: "b@a.test", id: "1", type: "get" }, xml("q", { xmlns: "urn:x", odd })),
    ]) {
      const read = parseStanza(written.text)?.stanza;
      assert.equal(read?.text, written.text);
      assert.deepEqual([read?.kind, read?.type, read?.id], [written.kind, written.type, written.id]);
      assert.ok(read?.from.equals(written.from));
      assert.equal(read?.to?.toString(), written.to?.toString());
    }
  });

  it("has no addresses for what a connection said itself", () => {
    const parsed = parseStanza("<iq type='result' id='1'/>");
    assert.equal(parsed?.element.attrs.id, "1");
    assert.equal(parsed?.stanza, undefined);
  });

  it("takes nothing but one whole stanza", () => {
    const bad = [
      "",
      "text",
      "<message from='a@b'>",
      "<message from='a@b'/><message from='a@b'/>",
      "<message from='a@b'/></stream:stream>",
      "<r xmlns='urn:xmpp:sm:3'/>",
      "<message xmlns='jabber:server' from='a@b'/>",
      "<message from='@b'/>",
      "<message from='a@b' to='@'/>",
      "<message from='a@b'>&undefined;</message>",
      "<!DOCTYPE x><message from='a@b'/>",
      `<message from='a@b'>${"<x>".repeat(2000)}${"</x>".repeat(2000)}</message>`,
    ];
    for (const text of bad) assert.equal(parseStanza(text), undefined, text.slice(0, 60));
  });
});
