// Morendo is suspended in mode hold while it federates with a real server: the streams stay up, and messages go on both ways
// afterwards, those sent meanwhile included, in order and without a word to anybody.

import assert from "node:assert/strict";
import type { ServerStatus } from "../../src/server/server.ts";
import type { ResumeResult, SuspendReport } from "../../src/shutdown/suspend-types.ts";
import { ask } from "../support/control.ts";
import { federatedPair } from "../support/federated-pair.ts";
import type { ServerKind } from "../support/server.ts";

const KEEPALIVE_MS = 400;
/** Longer than a few keep-alives, and so short that the test is. */
const HELD_MS = 2_000;
const PEERS: readonly ServerKind[] = ["prosody", "ejabberd"];

for (const peerKind of PEERS) {
  for (const federation of ["dialback", "external"] as const) {
    describe(`a suspended Morendo and ${peerKind}, by ${federation}`, function () {
      this.timeout(90_000);
      const pair = federatedPair({
        near: "morendo",
        far: peerKind,
        federation,
        usernames: ["ann", "ben"],
        nearExtra: `[suspend]\nkeepalive = "${KEEPALIVE_MS}ms"\n`,
      });

      it("keeps its streams, and goes on both ways", async () => {
        const ann = await pair.online(pair.near, "ann");
        const ben = await pair.online(pair.far, "ben");
        const pairs = [
          [ann, ben],
          [ben, ann],
        ] as const;
        const sent: string[] = [];
        const send = (what: string): void => {
          for (let index = 0; index < 10; index++) {
            sent.push(`${what} ${index}`);
            for (const [from, to] of pairs) {
              from.send(`<message to='${to.jid}' type='chat'><body>${what} ${index}.</body></message>`);
            }
          }
        };
        const all = (what: string) =>
          Promise.all(pairs.map(([, to]) => to.waitFor((xml) => xml.includes(`${what} 9.`), { timeoutMs: 30_000 })));
        send("before");
        await all("before");
        const before = (await ask(pair.near.process.folder, "status")) as ServerStatus;
        const suspended = (await ask(pair.near.process.folder, "suspend", { mode: "hold" })) as SuspendReport;
        assert.equal(suspended.outcome, "suspended", JSON.stringify(suspended));
        send("meanwhile");
        await new Promise((resolve) => setTimeout(resolve, HELD_MS));
        assert.ok(!ben.received.some(({ xml }) => xml.includes("meanwhile")));
        const resumed = (await ask(pair.near.process.folder, "resume")) as ResumeResult;
        assert.equal(resumed.resumed, true);
        send("after");
        await all("after");
        for (const [, to] of pairs) {
          const got = to.received.flatMap(({ xml }) => /<body>(.*)\.<\/body>/.exec(xml)?.[1] ?? []);
          assert.deepEqual(got, sent);
          assert.ok(!to.received.some(({ xml }) => /type=['"]error['"]/.test(xml)), "somebody was told of an error");
        }
        const after = (await ask(pair.near.process.folder, "status")) as ServerStatus;
        assert.deepEqual(
          [after.s2s.outgoing, after.s2s.incoming],
          [before.s2s.outgoing, before.s2s.incoming],
          "streams were closed or opened",
        );
      });
    });
  }
}
