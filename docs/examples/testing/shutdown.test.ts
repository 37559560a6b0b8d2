import assert from "node:assert/strict";
import { ScriptedPeer, startServer } from "morendo/testing";

describe("a server that is stopped while another one is slow to acknowledge", () => {
  it("tells it that its user has gone, and waits for the proof", async () => {
    await using peer = await ScriptedPeer.start({ domain: "slow.test", script: { ack: { delayMs: 1_000 } } });
    await using server = await startServer({ shutdown: { deadline: "10s" } }, { accounts: ["romeo"], peers: [peer] });

    const romeo = await server.login("romeo", "balcony");
    romeo.send("<presence to='juliet@slow.test'/>");
    romeo.send("<message to='juliet@slow.test' id='m1'><body>But, soft!</body></message>");
    await peer.until(({ stanzas }) => stanzas.length === 2, "presence and a message");

    const report = await server.stop("the play is over");

    assert.equal(report.outcome, "clean");
    assert.equal(report.obligations.run.lost, 0);
    assert.equal(report.obligations.run.evidence["sm-ack"], 3);
    assert.deepEqual(
      peer.stanzas.map(({ name, attrs }) => [name, attrs.type]),
      [
        ["presence", undefined],
        ["message", undefined],
        ["presence", "unavailable"],
      ],
    );
    const asked = peer.seen.find(({ element }) => element?.name === "r");
    const answered = peer.seen.find(({ kind, text }) => kind === "sent" && text.startsWith("<a "));
    assert.ok(asked !== undefined && answered !== undefined && answered.at - asked.at >= 900, peer.history());
    assert.equal((await romeo.ended).streamError, "system-shutdown");
  });
});
