// From the text or the stored tree of a stanza to the stanza, as a kept session, a handover, an offline message and another
// server's stream do it: what is read can be written and read again, and never changes who it is for.

import assert from "node:assert/strict";
import { Jid } from "../../../src/jid/jid.ts";
import { readEnable, readResume } from "../../../src/server/c2s/sm-elements.ts";
import { dialbackError, domainOf, domainWithin, kindOf } from "../../../src/server/s2s/elements.ts";
import { elementOf, treeOf } from "../../../src/stanza/element-tree.ts";
import { parseStanza } from "../../../src/stanza/parse-stanza.ts";
import { readRemoteStanza, readStanza } from "../../../src/stanza/read-stanza.ts";
import { textOf } from "../../../src/xml/element.ts";
import type { Target } from "../harness/target.ts";

const CLIENT = Jid.of("romeo", "a.test", "balcony");

/** Stanzas as text. */
export const stanza: Target = {
  name: "stanza",
  seeds: [
    "<message from='romeo@a.test/balcony' to='juliet@b.test' id='1' type='chat'><body>hi</body></message>",
    "<presence from='romeo@a.test/balcony'><show>away</show><priority>-1</priority></presence>",
    "<iq from='a.test' to='romeo@a.test/balcony' type='get' id='7'><ping xmlns='urn:xmpp:ping'/></iq>",
    "<message from='a@b' to='ä@ö.test/ü'><delay xmlns='urn:xmpp:delay' stamp='2026-01-01T00:00:00Z'/></message>",
    "<db:result xmlns:db='jabber:server:dialback' from='a.test' to='b.test'>key</db:result>",
    "<db:verify xmlns:db='jabber:server:dialback' from='a.test' to='b.test' id='s' type='error'><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:verify>",
    "<a xmlns='urn:xmpp:sm:3' h='17'/>",
    "<enable xmlns='urn:xmpp:sm:3' resume='true' max='600'/>",
    "<resume xmlns='urn:xmpp:sm:3' previd='x' h='3'/>",
    "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>",
  ],
  words:
    "from='|to='|id='|type='|get|set|result|error|subscribe|unavailable|probe|chat|groupchat|headline|xmlns='|<body>|</body>|@|/|a.test|jabber:client|jabber:server|urn:xmpp:sm:3|h='|4294967296|'| |<x/>|<error>|db:|stream:".split(
      "|",
    ),
  run(input) {
    const text = input.toString();
    const parsed = parseStanza(text);
    if (parsed?.stanza !== undefined) {
      const again = parseStanza(parsed.stanza.text)?.stanza;
      assert.equal(again?.text, parsed.stanza.text, "a stanza is not read back");
      assert.ok(again?.from.equals(parsed.stanza.from), "another sender");
      assert.equal(again?.to?.toString(), parsed.stanza.to?.toString(), "another addressee");
    }
    // An element of any kind, as a stream hands it over.
    const element = parseStanza(`<message>${text}</message>`)?.element.getChildElements()[0];
    if (element === undefined) return;
    const tree: unknown = JSON.parse(JSON.stringify(treeOf(element)));
    const grown = elementOf(tree);
    assert.equal(grown === undefined ? undefined : textOf(grown), textOf(element), "a tree does not grow back");
    kindOf(element);
    dialbackError(element);
    readEnable(element);
    const resume = readResume(element);
    assert.ok(resume === undefined || (resume.h >= 0 && resume.h < 2 ** 32), "an h beyond its range");
    for (const value of Object.values(element.attrs)) {
      const domain = domainOf(String(value));
      assert.ok(domain === undefined || Jid.parse(domain)?.toString() === domain, "a domain that is none");
      domainWithin(String(value));
    }
    element.parent = null;
    const remote = readRemoteStanza(element);
    if (remote.kind === "stanza") {
      assert.equal(remote.stanza.element.attrs.from, remote.stanza.from.toString());
      assert.equal(remote.stanza.element.attrs.to, remote.stanza.to?.toString());
    }
    const local = readStanza(element, CLIENT);
    if (local.kind === "stanza") assert.ok(local.stanza.from.equals(CLIENT), "a client speaks for somebody else");
    if (local.kind === "bad" && local.reply !== undefined) {
      assert.ok(local.reply.to?.equals(CLIENT), "an error goes to somebody else");
    }
  },
};
