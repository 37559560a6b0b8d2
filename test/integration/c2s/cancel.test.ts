// A stop that is cancelled, with real sockets: who can log in when, and who notices anything.

import assert from "node:assert/strict";
import { connect } from "node:net";
import { defineModule } from "../../../src/module.ts";
import { startServer, type TestServer } from "../../../src/testing/start-server.ts";

/** A module that holds `stop-accepting` for as long as it is let. */
function holder(when: "before" | "after") {
  const seen: string[] = [];
  const waiting: (() => void)[] = [];
  const definition = defineModule({
    name: "holder",
    load(api) {
      api.phase("stop-accepting", { when, cancelled: () => void seen.push("taken back") }, async ({ signal }) => {
        seen.push("held");
        for (const go of waiting.splice(0)) go();
        await api.clock.sleep(20_000, signal);
      });
      api.on("lifecycle/state", ({ state, cause }) => seen.push(cause === undefined ? state : `${state} (${cause})`));
    },
  });
  const held = (): Promise<void> => new Promise((resolve) => waiting.push(resolve));
  return { definition, seen, held };
}

/** Whether somebody takes connections at the port. */
function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

describe("a server whose stop is cancelled", function () {
  this.timeout(60_000);
  let running: TestServer;
  afterEach(() => running.dispose());

  it("serves as before, on the same ports, and those who were logged in have noticed nothing", async () => {
    const { definition, seen, held } = holder("after");
    running = await startServer({}, { modules: [definition] });
    const { server } = running;
    const listening = server.status().listening;
    const juliet = await running.login("juliet", "balcony");
    const direct = await running.login("juliet", "chamber", { security: "direct" });
    const port = running.ports.c2s;
    const directPort = running.ports.c2sTls;
    for (let round = 0; round < 3; round++) {
      const isHeld = held();
      const stopped = running.stop("a mistake");
      await isHeld;
      assert.equal(await isOpen(port), false, "the listener is still open");
      assert.equal(await isOpen(directPort), false);
      assert.deepEqual(await server.cancel({ reason: "changed my mind", trigger: "test" }), {
        cancelled: true,
        failed: [],
      });
      assert.equal((await stopped).outcome, "cancelled");
      assert.deepEqual(server.status().listening, listening);
      assert.equal(server.status().state, "running");
      const romeo = await running.login("romeo", `orchard-${round}`, { port });
      const other = await running.login("romeo", `chamber-${round}`, { port: directPort, security: "direct" });
      for (const [index, client] of [juliet, direct, romeo, other].entries()) {
        const body = `round ${round}, client ${index}`;
        client.send(`<message to="juliet@a.test/balcony" type="chat"><body>${body}</body></message>`);
        await juliet.waitFor((xml) => xml.includes(body));
      }
    }
    assert.deepEqual(
      seen.filter((line) => !line.startsWith("starting")),
      ["running", ...Array(3).fill(["stopping (stop)", "held", "taken back", "running"]).flat()],
    );
    assert.equal(server.status().sessions, 8);
  });

  it("turns away whoever comes while it does not accept, and takes them afterwards", async () => {
    const { definition, held } = holder("before");
    running = await startServer({}, { modules: [definition] });
    const { server } = running;
    // Held before the listeners close: nothing has changed for anybody yet.
    const isHeld = held();
    void running.stop("a mistake");
    await isHeld;
    await running.login("romeo", "early");
    assert.equal((await server.cancel({ reason: "no", trigger: "test" })).cancelled, true);
    await running.login("romeo", "late");
  });

  it("says that it is too late once sessions are being closed", async () => {
    let closing: () => void = () => undefined;
    const isClosing = new Promise<void>((resolve) => {
      closing = resolve;
    });
    const definition = defineModule({
      name: "slow",
      load(api) {
        api.phase("close-sessions", { when: "before", timeout: "10s" }, () => {
          closing();
          return api.clock.sleep(300);
        });
      },
    });
    running = await startServer({}, { modules: [definition] });
    const stopped = running.stop();
    await isClosing;
    const result = await running.server.cancel({ reason: "too late", trigger: "test" });
    assert.deepEqual(result, {
      cancelled: false,
      why: 'phase "close-sessions" has begun, and there is no way back from it',
    });
    assert.equal((await stopped).outcome, "clean");
  });

  it("names a listener whose port was taken meanwhile, and serves on by the others", async () => {
    const { definition, held } = holder("after");
    running = await startServer({}, { modules: [definition] });
    const { server } = running;
    const port = running.ports.c2s;
    const isHeld = held();
    const stopped = running.stop();
    await isHeld;
    const { createServer } = await import("node:net");
    const thief = createServer();
    await new Promise<void>((resolve) => thief.listen(port, "127.0.0.1", resolve));
    try {
      const result = await server.cancel({ reason: "no", trigger: "test" });
      assert.ok(result.cancelled);
      assert.deepEqual(
        result.failed.map(({ name }) => name),
        ["c2s"],
      );
      assert.match(result.failed[0]?.error ?? "", new RegExp(`127\\.0\\.0\\.1:${port} is in use by another program`));
      assert.equal(server.status().listening.filter((text) => text.startsWith("c2s")).length, 1);
      assert.equal((await stopped).cancelled?.undone.find(({ name }) => name === "c2s")?.outcome, "failed");
    } finally {
      await new Promise((resolve) => thief.close(resolve));
    }
  });
});
