import assert from "node:assert/strict";
import { connect, createServer, type Socket } from "node:net";
import { Channel } from "../../../src/handover/channel.ts";
import { readFromPredecessor, readFromSuccessor } from "../../../src/handover/protocol.ts";
import { Relay, type Take, takeRelayed } from "../../../src/handover/relay.ts";

/** Both ends of a real connection. */
async function pair(): Promise<[Socket, Socket]> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const accepted = new Promise<Socket>((resolve) => server.once("connection", resolve));
  const address = server.address();
  const one = connect(typeof address === "object" && address !== null ? address.port : 0, "127.0.0.1");
  const other = await accepted;
  server.close();
  return [one, other];
}

async function relayed(take: Take) {
  const [near, far] = await pair();
  const relay = new Relay(new Channel(near, readFromSuccessor));
  const over = takeRelayed(new Channel(far, readFromPredecessor), take);
  return { relay, over, far };
}

describe("what reaches a predecessor too late", () => {
  it("is taken over by the successor in order, and answered when it has been", async () => {
    const taken: unknown[] = [];
    const { relay, over } = await relayed((value) => {
      taken.push(value);
    });
    await Promise.all(Array.from({ length: 1000 }, (_, n) => relay.send({ n, text: "x".repeat(n) })));
    assert.deepEqual(
      taken.map((value) => (value as { n: number }).n),
      Array.from({ length: 1000 }, (_, n) => n),
    );
    relay.close();
    await over;
  });

  it("does not wait for what takes longer", async () => {
    let finish = (): void => undefined;
    const slow = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const { relay, over } = await relayed((value) => (value === "slow" ? slow : undefined));
    const order: string[] = [];
    const first = relay.send("slow").then(() => order.push("slow"));
    await relay.send("quick").then(() => order.push("quick"));
    finish();
    await first;
    assert.deepEqual(order, ["quick", "slow"]);
    relay.close();
    await over;
  });

  it("comes back with the reason when the successor cannot take it", async () => {
    const { relay, over } = await relayed(() => {
      throw new Error("no room");
    });
    await assert.rejects(relay.send(1), { code: "MORENDO_HANDOVER_REFUSED", message: "no room" });
    relay.close();
    await over;
  });

  it("comes back when the successor has gone, and so does what comes later", async () => {
    const { relay, far } = await relayed(() => new Promise(() => undefined));
    const sent = relay.send(1);
    far.destroy();
    await assert.rejects(sent, { code: "MORENDO_HANDOVER_GONE" });
    await assert.rejects(relay.send(2), { code: "MORENDO_HANDOVER_GONE" });
    relay.close();
  });
});
