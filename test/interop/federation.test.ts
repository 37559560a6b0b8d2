// Morendo and the servers of others, federating for real in both directions, by dialback and by certificates: messages,
// the subscription flow, IQs and offline messages. MORENDO_SUBJECT=prosody plays the same against another server, which
// is how these tests are tested.

import assert from "node:assert/strict";
import { attributeOf } from "../../src/testing/raw-client.ts";
import { federatedPair } from "../support/federated-pair.ts";
import type { ServerKind } from "../support/server.ts";
import { SUBJECT } from "../support/subject.ts";

const PEERS: readonly ServerKind[] = ["prosody", "ejabberd"];

for (const peerKind of PEERS) {
  for (const federation of ["dialback", "external"] as const) {
    describe(`${SUBJECT} and ${peerKind}, by ${federation}`, function () {
      this.timeout(90_000);
      const usernames = ["ann", "ben", "cat", "dan", "eve", "fay"];
      const pair = federatedPair({ near: SUBJECT, far: peerKind, federation, usernames });

      it("answers a ping of the other server's user", async () => {
        const ann = await pair.online(pair.near, "ann");
        assert.match(await ann.iq("get", "<ping xmlns='urn:xmpp:ping'/>", pair.far.domain), /type=['"]result['"]/);
        const ben = await pair.online(pair.far, "ben");
        assert.match(await ben.iq("get", "<ping xmlns='urn:xmpp:ping'/>", pair.near.domain), /type=['"]result['"]/);
      });

      it("carries messages in both directions, in order", async () => {
        const ann = await pair.online(pair.near, "ann");
        const ben = await pair.online(pair.far, "ben");
        for (const [from, to] of [
          [ann, ben],
          [ben, ann],
        ] as const) {
          for (let index = 0; index < 20; index++) {
            from.send(`<message to='${to.jid}' type='chat'><body>number ${index}!</body></message>`);
          }
          await to.waitFor((xml) => xml.includes("number 19!"));
          const numbers = to.received
            .map(({ xml }) => /number (\d+)!/.exec(xml)?.[1])
            .filter((found) => found !== undefined);
          assert.deepEqual(
            numbers,
            Array.from({ length: 20 }, (_, index) => `${index}`),
          );
          assert.equal(
            attributeOf(to.received.find(({ xml }) => xml.includes("number 0!"))?.xml ?? "", "from"),
            from.jid,
          );
        }
      });

      it("lets users subscribe to each other's presence, and shows who comes and goes", async () => {
        const cat = await pair.online(pair.near, "cat");
        const dan = await pair.online(pair.far, "dan");
        for (const [asking, asked] of [
          [cat, dan],
          [dan, cat],
        ] as const) {
          const [asker, target] = [bare(asking.jid), bare(asked.jid)];
          asking.send(`<presence to='${target}' type='subscribe'/>`);
          await asked.waitFor((xml) => isPresence(xml, "subscribe", asker));
          asked.send(`<presence to='${asker}' type='subscribed'/>`);
          await asking.waitFor((xml) => isPresence(xml, "subscribed", target));
          await asking.waitFor((xml) => isPresence(xml, undefined, asked.jid));
        }
        const roster = await cat.iq("get", "<query xmlns='jabber:iq:roster'/>");
        assert.match(roster, /subscription=['"]both['"]/);
        await dan.close();
        await cat.waitFor((xml) => isPresence(xml, "unavailable", dan.jid));
        const again = await pair.online(pair.far, "dan");
        await again.waitFor((xml) => isPresence(xml, undefined, cat.jid));
        await cat.close();
        await again.waitFor((xml) => isPresence(xml, "unavailable", cat.jid));
      });

      it("keeps a message for a user who is not there, with the time it was sent", async () => {
        for (const [here, there] of [
          [pair.near, pair.far],
          [pair.far, pair.near],
        ] as const) {
          const eve = await pair.online(here, "eve");
          eve.send(`<message to='fay@${there.domain}' type='chat' id='o1'><body>for later</body></message>`);
          // The answer comes the same way, after the message was dealt with.
          await eve.iq("get", "<ping xmlns='urn:xmpp:ping'/>", there.domain);
          const fay = await pair.online(there, "fay");
          const { xml } = await fay.waitFor((each) => each.includes("for later"));
          assert.match(xml, /<delay[^>]+urn:xmpp:delay/);
        }
      });

      it("returns a message for a user who does not exist or a domain that cannot be found", async () => {
        const ann = await pair.online(pair.near, "ann");
        ann.send("<message to='nobody@nowhere.example' type='chat' id='n1'><body>?</body></message>");
        const { xml } = await ann.waitFor((each) => each.startsWith("<message") && attributeOf(each, "id") === "n1");
        assert.equal(attributeOf(xml, "type"), "error");
        assert.match(xml, /remote-server-not-found/);
        ann.send(`<iq to='nobody@${pair.far.domain}/x' type='get' id='n2'><query xmlns='jabber:iq:version'/></iq>`);
        const answer = await ann.waitFor((each) => each.startsWith("<iq") && attributeOf(each, "id") === "n2");
        assert.equal(attributeOf(answer.xml, "type"), "error");
      });
    });
  }
}

function isPresence(xml: string, type: string | undefined, from: string): boolean {
  return xml.startsWith("<presence") && attributeOf(xml, "type") === type && attributeOf(xml, "from") === from;
}

function bare(jid: string): string {
  return jid.split("/")[0] ?? jid;
}
