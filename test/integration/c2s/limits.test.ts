import assert from "node:assert/strict";
import { MemoryStore } from "../../../src/store/memory.ts";
import { WatchedClock } from "../../../src/testing/leaks/watched-clock.ts";
import { startServer, type TestServer } from "../../../src/testing/start-server.ts";
import { systemClock } from "../../../src/util/clock.ts";
import type { Logger } from "../../../src/util/log.ts";
import { HEADER, Wire, waitUntil } from "../../support/wire.ts";

const PING = "<ping xmlns='urn:xmpp:ping'/>";
const SASL = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";
const PLAIN = Buffer.from("\0juliet\0orchard").toString("base64");

describe("limits on clients", () => {
  let running: TestServer;

  afterEach(() => running.dispose());

  const connections = (): number => running.status.connections;

  describe("in number", () => {
    it("those over the bound are told so, those far over it are cut off, and neither counts against the others", async () => {
      running = await startServer({ c2s: { max_connections: 20, close_timeout: "5s" } });
      const member = await running.login("romeo", "member");
      const idle = await Promise.all(Array.from({ length: 19 }, () => Wire.plain(running.ports.c2s)));
      await waitUntil(() => connections() === 20, "twenty connections");
      const over = await Promise.all(Array.from({ length: 600 }, () => Wire.plain(running.ports.c2s)));
      await waitUntil(() => over.every((wire) => wire.condition !== undefined || wire.socket.closed), "an answer");
      const told = over.filter((wire) => wire.condition !== undefined);
      assert.ok(told.length >= 256, `${told.length} were told`);
      for (const wire of told) assert.equal(wire.condition, "resource-constraint");
      assert.ok(connections() <= 20 + 256, `${connections()} connections`);
      await member.iq("get", PING, "a.test");
      for (const wire of over) wire.destroy();
      idle.pop()?.destroy();
      await waitUntil(() => connections() === 19, "a free place");
      await running.login("juliet", "next");
      for (const wire of idle) wire.destroy();
      await waitUntil(() => connections() === 2, "the idle connections to be gone");
    });

    it("with direct TLS they are told inside of it", async () => {
      running = await startServer({ c2s: { max_connections: 1 } });
      const first = await Wire.plain(running.ports.c2s);
      const wire = await Wire.secure(running.ports.c2sTls);
      wire.send(HEADER);
      await wire.until(/<\/stream:stream>/);
      assert.equal(wire.condition, "resource-constraint");
      wire.send("</stream:stream>");
      await wire.ended;
      assert.deepEqual([wire.fin, wire.code], [true, undefined]);
      first.destroy();
    });

    it("from one address: those turned away do not count, and places are given back", async () => {
      running = await startServer({ c2s: { max_connections_per_address: 3 } });
      for (let round = 0; round < 5; round++) {
        const wires = await Promise.all(Array.from({ length: 6 }, () => Wire.plain(running.ports.c2s)));
        await waitUntil(
          () => wires.filter((wire) => wire.condition === "policy-violation").length === 3,
          "three refusals",
        );
        for (const wire of wires) wire.destroy();
        await waitUntil(() => connections() === 0, "all to be gone");
      }
      await running.login("romeo", "after");
    });

    it("of sessions: one account has so many, and the one over it may try again", async () => {
      running = await startServer({ c2s: { max_resources: 2 } });
      const [one] = [await running.login("romeo", "1"), await running.login("romeo", "2")];
      const third = running.client({ username: "romeo", resource: "3", security: "direct" });
      await third.connect();
      await third.authenticate();
      await assert.rejects(third.bind(), /resource-constraint/);
      await one.close();
      await waitUntil(() => running.status.sessions === 1, "a free place");
      assert.equal(await third.bind(), "romeo@a.test/3");
    });
  });

  describe("in time", () => {
    it("a login that takes too long ends, however it stalls, while those who are logged in stay", async () => {
      const clock = new WatchedClock(systemClock);
      running = await startServer({ c2s: { login_timeout: "1s", close_timeout: "500ms" } }, { clock });
      const member = await running.login("romeo", "member");
      const silent = await Wire.plain(running.ports.c2s);
      const crawling = await Wire.plain(running.ports.c2s);
      const opened = await Wire.plain(running.ports.c2s);
      opened.send(HEADER);
      const helloless = await Wire.plain(running.ports.c2sTls);
      const upgrading = await Wire.plain(running.ports.c2s);
      upgrading.send(`${HEADER}<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>`);
      const challenged = await Wire.secure(running.ports.c2sTls);
      challenged.send(`${HEADER}<auth ${SASL} mechanism='PLAIN'/>`);
      const unbound = await Wire.secure(running.ports.c2sTls);
      unbound.send(`${HEADER}<auth ${SASL} mechanism='PLAIN'>${PLAIN}</auth>`);
      await unbound.until(/<success/);
      unbound.send(HEADER);
      const whitespace = await Wire.plain(running.ports.c2s);
      whitespace.send(HEADER);
      let sent = 0;
      while (!crawling.socket.closed) {
        crawling.send(HEADER.charAt(sent++) || " ");
        whitespace.send(" ");
        await clock.sleep(20);
      }
      const all = [silent, crawling, opened, helloless, upgrading, challenged, unbound, whitespace];
      await Promise.all(all.map((wire) => wire.ended));
      for (const wire of [silent, crawling, opened, challenged, unbound, whitespace]) {
        assert.equal(wire.condition, "connection-timeout", wire.received);
        assert.match(wire.received, /<\/stream:stream>$/);
        assert.deepEqual([wire.fin, wire.code], [true, undefined]);
      }
      await waitUntil(() => connections() === 1, "only the member to be left");
      await member.iq("get", PING, "a.test");
    });

    it("a client that is silent is asked for a sign of life; white space is one, silence is not", async () => {
      const clock = new WatchedClock(systemClock);
      running = await startServer(
        { c2s: { idle_timeout: "1s", stall_timeout: "1s", close_timeout: "500ms" } },
        { clock },
      );
      const isPing = (xml: string): boolean => xml.includes("urn:xmpp:ping");
      const silent = await running.login("romeo", "silent");
      const answering = await running.login("romeo", "answering");
      const beating = await running.login("juliet", "beating");
      let pings = 0;
      answering.onElement = (xml) => {
        if (!isPing(xml)) return;
        pings++;
        answering.send(`<iq type='result' id='${/id="([^"]+)"/.exec(xml)?.[1]}' to='a.test'/>`);
      };
      let isOver = false;
      const ending = silent.ended.finally(() => {
        isOver = true;
      });
      while (!isOver || pings < 2) {
        beating.send(" ");
        await clock.sleep(50);
      }
      assert.equal((await ending).streamError, "connection-timeout");
      assert.ok(silent.received.some(({ xml }) => isPing(xml)));
      assert.ok(!beating.received.some(({ xml }) => isPing(xml)));
      assert.equal(running.status.sessions, 2);
    });

    it("after one question the next comes only after the whole time again", async () => {
      const clock = new WatchedClock(systemClock);
      running = await startServer({ c2s: { idle_timeout: "3s", stall_timeout: "500ms" } }, { clock });
      const client = await running.login("romeo", "one");
      const at: number[] = [];
      client.onElement = (xml) => {
        if (!xml.includes("urn:xmpp:ping")) return;
        at.push(clock.now());
        client.send(`<iq type='result' id='${/id="([^"]+)"/.exec(xml)?.[1]}' to='a.test'/>`);
      };
      await waitUntil(() => at.length === 2, "two questions");
      assert.ok((at[1] as number) - (at[0] as number) >= 2900);
    });
  });

  describe("in rate", () => {
    it("what comes faster is read later, and is not lost", async () => {
      running = await startServer({ c2s: { rate: "64KiB", burst: "64KiB" } });
      const reader = await running.login("juliet", "reader");
      const writer = await running.login("romeo", "writer");
      const begun = performance.now();
      const count = 24;
      for (let index = 0; index < count; index++) {
        writer.send(`<message to='juliet@a.test/reader' id='m${index}'><body>${"x".repeat(8 * 1024)}</body></message>`);
      }
      await reader.waitFor((xml) => xml.includes(`id="m${count - 1}"`));
      // 192 KiB, of which 64 pass at once: two seconds, less what one read may take in beforehand.
      assert.ok(performance.now() - begun > 900, "it took its time");
      const ids = reader.received
        .filter(({ xml }) => xml.startsWith("<message"))
        .map(({ xml }) => /id="m(\d+)"/.exec(xml)?.[1]);
      assert.deepEqual(
        ids,
        Array.from({ length: count }, (_, index) => String(index)),
      );
    });

    it("a client that has not logged in is read more slowly than one that has", async () => {
      running = await startServer({ c2s: { login_timeout: "2s", close_timeout: "500ms" } });
      const wire = await Wire.plain(running.ports.c2s);
      wire.send(HEADER + " ".repeat(64 * 1024 * 1024));
      await wire.ended;
      assert.ok(wire.socket.bytesWritten < 64 * 1024 * 1024 || wire.code !== undefined);
      await waitUntil(() => connections() === 0, "the server to have let go of it");
    });
  });

  describe("when something of ours fails", () => {
    it("the stream ends with internal-server-error, the log has the reason, and the server goes on", async () => {
      let isBroken = false;
      class BreakingStore extends MemoryStore {
        override get(...args: Parameters<MemoryStore["get"]>): ReturnType<MemoryStore["get"]> {
          if (isBroken) throw new Error("the disk is on fire");
          return super.get(...args);
        }
      }
      const errors: object[] = [];
      const log: Logger = {
        debug: () => undefined,
        info: () => undefined,
        warn: () => undefined,
        error: (fields) => errors.push(fields),
        child: () => log,
      };
      running = await startServer({}, { log, store: new BreakingStore() });
      const client = await running.login("romeo", "unlucky");
      isBroken = true;
      client.send("<message to='stranger@a.test'><body>hello</body></message>");
      const ending = await client.ended;
      isBroken = false;
      assert.deepEqual([ending.streamError, ending.closingTag, ending.how], ["internal-server-error", true, "fin"]);
      assert.match(String((errors[0] as { err?: Error }).err?.message), /on fire/);
      await running.login("romeo", "lucky");
    });
  });
});
