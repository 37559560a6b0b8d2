// Morendo and the servers of others, federating for real in both directions, by dialback and by certificates: messages,
// the subscription flow, IQs and offline messages. MORENDO_SUBJECT=prosody plays the same against another server, which
// is how these tests are tested.

import assert from "node:assert/strict";
import { attributeOf, RawClient } from "../../src/testing/raw-client.ts";
import { PASSWORD } from "../support/accounts.ts";
import { PORTS } from "../support/addresses.ts";
import { missing, Network } from "../support/network.ts";
import type { RunningServer, ServerKind } from "../support/server.ts";
import { SUBJECT, skipWithReason } from "../support/subject.ts";

const PEERS: readonly ServerKind[] = ["prosody", "ejabberd"];

for (const peerKind of PEERS) {
  for (const federation of ["dialback", "external"] as const) {
    describe(`${SUBJECT} and ${peerKind}, by ${federation}`, function () {
      this.timeout(90_000);
      let network: Network;
      let near: RunningServer;
      let far: RunningServer;
      const clients: RawClient[] = [];

      before(async function () {
        skipWithReason(this, missing(peerKind) ?? missing(SUBJECT));
        network = await Network.create();
        const accounts = ["ann", "ben", "cat", "dan", "eve", "fay"].map((username) => ({ username }));
        far = await network.start(peerKind, { domain: "far.example", federation, accounts });
        near = await network.start(SUBJECT, { domain: "near.example", federation, accounts });
      });

      afterEach(function () {
        if (this.currentTest?.state === "failed") process.stdout.write(`${near.process.log.slice(-6_000)}\n`);
        for (const client of clients.splice(0)) client.destroy();
      });

      after(async () => {
        await network?.stop();
      });

      async function online(server: RunningServer, username: string): Promise<RawClient> {
        const client = await RawClient.login({
          host: server.address,
          port: PORTS.c2s,
          domain: server.domain,
          username,
          password: PASSWORD,
          resource: "x",
        });
        clients.push(client);
        // Only who has asked for the roster is told about subscriptions (RFC 6121 §2.1.6).
        await client.iq("get", "<query xmlns='jabber:iq:roster'/>");
        client.presence();
        await client.waitFor((xml) => xml.startsWith("<presence") && attributeOf(xml, "from") === client.jid);
        return client;
      }

      it("answers a ping of the other server's user", async () => {
        const ann = await online(near, "ann");
        assert.match(await ann.iq("get", "<ping xmlns='urn:xmpp:ping'/>", far.domain), /type=['"]result['"]/);
        const ben = await online(far, "ben");
        assert.match(await ben.iq("get", "<ping xmlns='urn:xmpp:ping'/>", near.domain), /type=['"]result['"]/);
      });

      it("carries messages in both directions, in order", async () => {
        const ann = await online(near, "ann");
        const ben = await online(far, "ben");
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
        const cat = await online(near, "cat");
        const dan = await online(far, "dan");
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
        const again = await online(far, "dan");
        await again.waitFor((xml) => isPresence(xml, undefined, cat.jid));
        await cat.close();
        await again.waitFor((xml) => isPresence(xml, "unavailable", cat.jid));
      });

      it("keeps a message for a user who is not there, with the time it was sent", async () => {
        for (const [here, there] of [
          [near, far],
          [far, near],
        ] as const) {
          const eve = await online(here, "eve");
          eve.send(`<message to='fay@${there.domain}' type='chat' id='o1'><body>for later</body></message>`);
          // The answer comes the same way, after the message was dealt with.
          await eve.iq("get", "<ping xmlns='urn:xmpp:ping'/>", there.domain);
          const fay = await online(there, "fay");
          const { xml } = await fay.waitFor((each) => each.includes("for later"));
          assert.match(xml, /<delay[^>]+urn:xmpp:delay/);
        }
      });

      it("returns a message for a user who does not exist or a domain that cannot be found", async () => {
        const ann = await online(near, "ann");
        ann.send("<message to='nobody@nowhere.example' type='chat' id='n1'><body>?</body></message>");
        const { xml } = await ann.waitFor((each) => each.startsWith("<message") && attributeOf(each, "id") === "n1");
        assert.equal(attributeOf(xml, "type"), "error");
        assert.match(xml, /remote-server-not-found/);
        ann.send(`<iq to='nobody@${far.domain}/x' type='get' id='n2'><query xmlns='jabber:iq:version'/></iq>`);
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
