import assert from "node:assert/strict";
import type { AddressRecord, NameServer, SrvRecord } from "../../../src/net/name-server.ts";
import { Resolver } from "../../../src/net/resolver.ts";
import { orderByPriority } from "../../../src/net/srv-order.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { type Random, systemRandom } from "../../../src/util/random.ts";

/** Answers from tables; what is missing does not exist, an Error is thrown, and "never" is no answer at all. */
class TableServer implements NameServer {
  services: Record<string, SrvRecord[] | Error | "never"> = {};
  hosts4: Record<string, AddressRecord[] | Error> = {};
  hosts6: Record<string, AddressRecord[] | Error> = {};
  asked: string[] = [];

  resolveSrv(name: string): Promise<SrvRecord[]> {
    return this.#answer(name, this.services[name]);
  }

  resolve4(name: string): Promise<AddressRecord[]> {
    return this.#answer(`A ${name}`, this.hosts4[name]);
  }

  resolve6(name: string): Promise<AddressRecord[]> {
    return this.#answer(`AAAA ${name}`, this.hosts6[name]);
  }

  close(): void {
    this.asked.push("close");
  }

  #answer<T>(name: string, entry: T[] | Error | "never" | undefined): Promise<T[]> {
    this.asked.push(name);
    if (entry === "never") return new Promise(() => undefined);
    if (entry === undefined) return Promise.reject(coded("ENOTFOUND"));
    return entry instanceof Error ? Promise.reject(entry) : Promise.resolve(entry);
  }
}

function coded(code: string): Error {
  return Object.assign(new Error(code), { code });
}

function srv(name: string, port: number, priority = 0, weight = 0): SrvRecord {
  return { name, port, priority, weight };
}

const PLAIN = "_xmpp-server._tcp.b.test";
const DIRECT = "_xmpps-server._tcp.b.test";

describe("the resolver", () => {
  let clock: ManualClock;
  let nameServer: TableServer;
  let resolver: Resolver;

  beforeEach(() => {
    clock = new ManualClock();
    nameServer = new TableServer();
    resolver = new Resolver({
      clock,
      random: systemRandom,
      nameServer,
      config: { servers: [], timeout: 1_000 },
      routes: { "static.test": "127.0.1.2:5270", "six.test": "[::1]:5271" },
      cacheSize: 4,
    });
  });

  it("takes the records of direct TLS and STARTTLS as one set, by priority", async () => {
    nameServer.services = {
      [PLAIN]: [srv("x1.b.test", 5269, 10), srv("x3.b.test", 5269, 30)],
      [DIRECT]: [srv("x2.b.test", 5270, 20)],
    };
    assert.deepEqual(await resolver.resolve("b.test"), [
      { host: "x1.b.test", port: 5269, directTls: false },
      { host: "x2.b.test", port: 5270, directTls: true },
      { host: "x3.b.test", port: 5269, directTls: false },
    ]);
  });

  it("falls back to the domain itself on port 5269 when it has no records", async () => {
    nameServer.hosts4 = { "b.test": [{ address: "127.0.0.9", ttl: 1 }] };
    assert.deepEqual(await resolver.resolve("b.test"), [{ host: "b.test", port: 5269, directTls: false }]);
  });

  it("says not-found for a domain that does not exist", async () => {
    const answer = await resolver.resolve("b.test");
    assert.equal("failure" in answer && answer.failure, "not-found");
  });

  it("does not fall back when the domain says that it has no service", async () => {
    nameServer.services = { [PLAIN]: [srv(".", 0)] };
    nameServer.hosts4 = { "b.test": [{ address: "127.0.0.9", ttl: 1 }] };
    const answer = await resolver.resolve("b.test");
    assert.equal("failure" in answer && answer.failure, "not-found");
  });

  it("falls back when only direct TLS is said not to be there", async () => {
    nameServer.services = { [DIRECT]: [srv("", 0)] };
    nameServer.hosts4 = { "b.test": [{ address: "127.0.0.9", ttl: 1 }] };
    assert.deepEqual(await resolver.resolve("b.test"), [{ host: "b.test", port: 5269, directTls: false }]);
  });

  it("says timeout, not not-found, when the name servers are broken", async () => {
    nameServer.services = { [PLAIN]: coded("ESERVFAIL") };
    const answer = await resolver.resolve("b.test");
    assert.equal("failure" in answer && answer.failure, "timeout");
  });

  it("says timeout for a host whose address cannot be asked for", async () => {
    nameServer.hosts4 = { "b.test": coded("ESERVFAIL") };
    const answer = await resolver.resolve("b.test");
    assert.equal("failure" in answer && answer.failure, "timeout");
  });

  it("gives up a question after its time and leaves no timer behind", async () => {
    nameServer.services = { [PLAIN]: "never" };
    const answer = resolver.resolve("b.test");
    await clock.advance(1_000);
    const settled = await answer;
    assert.equal("failure" in settled && settled.failure, "timeout");
    assert.equal(clock.pendingTimers, 0);
  });

  it("asks no name server for static routes and addresses", async () => {
    assert.deepEqual(await resolver.resolve("static.test"), [{ host: "127.0.1.2", port: 5270, directTls: false }]);
    assert.deepEqual(await resolver.resolve("six.test"), [{ host: "::1", port: 5271, directTls: false }]);
    assert.deepEqual(await resolver.resolve("127.0.0.1"), [{ host: "127.0.0.1", port: 5269, directTls: false }]);
    assert.deepEqual(await resolver.resolve("[::1]"), [{ host: "::1", port: 5269, directTls: false }]);
    assert.deepEqual(nameServer.asked, []);
  });

  it("finds a static route however its domain is written", async () => {
    const routed = new Resolver({
      clock,
      random: systemRandom,
      config: { servers: [], timeout: 5_000 },
      nameServer,
      routes: {
        "B.Test": "127.0.0.1:1",
        "BÜCHER.test": "127.0.0.1:2",
        "xn--mgba3a4f16a.test": "127.0.0.1:3",
        "[0::1]": "[::1]:4",
      },
    });
    const port = async (domain: string): Promise<number | undefined> => {
      const found = await routed.resolve(domain);
      return "failure" in found ? undefined : found[0]?.port;
    };
    assert.equal(await port("b.test"), 1);
    assert.equal(await port("bücher.test"), 2);
    assert.equal(await port("ایران.test"), 3);
    assert.equal(await port("[::1]"), 4);
    assert.deepEqual(await routed.resolve("[::1]"), [{ host: "::1", port: 4, directTls: false }]);
    assert.deepEqual(nameServer.asked, []);
  });

  it("asks for an international domain by its ASCII form", async () => {
    await resolver.resolve("bücher.test");
    assert.ok(nameServer.asked.includes("_xmpp-server._tcp.xn--bcher-kva.test"));
  });

  it("asks once for all who want to know at the same time, and remembers", async () => {
    nameServer.services = { [PLAIN]: [srv("x.b.test", 5269)] };
    await Promise.all([resolver.resolve("b.test"), resolver.resolve("b.test"), resolver.resolve("b.test")]);
    await resolver.resolve("b.test");
    assert.deepEqual(nameServer.asked.toSorted(), [PLAIN, DIRECT].toSorted());
  });

  it("forgets good answers after minutes, and bad ones after half a minute", async () => {
    nameServer.services = { [PLAIN]: [srv("x.b.test", 5269)] };
    const count = (name: string): number => nameServer.asked.filter((other) => other === name).length;
    await resolver.resolve("b.test");
    await clock.advance(29_000);
    await resolver.resolve("b.test");
    assert.deepEqual([count(PLAIN), count(DIRECT)], [1, 1]);
    await clock.advance(2_000);
    await resolver.resolve("b.test");
    assert.deepEqual([count(PLAIN), count(DIRECT)], [1, 2]);
    await clock.advance(300_000);
    await resolver.resolve("b.test");
    assert.equal(count(PLAIN), 2);
  });

  it("keeps a bounded number of answers", async () => {
    for (let index = 0; index < 10; index++) await resolver.addresses(`h${index}.test`);
    nameServer.asked = [];
    await resolver.addresses("h9.test");
    assert.deepEqual(nameServer.asked, []);
    await resolver.addresses("h0.test");
    assert.equal(nameServer.asked.length, 2);
  });

  it("returns the addresses of both families by turns", async () => {
    nameServer.hosts4 = {
      "x.test": [
        { address: "127.0.0.1", ttl: 60 },
        { address: "127.0.0.2", ttl: 60 },
      ],
    };
    nameServer.hosts6 = { "x.test": [{ address: "::1", ttl: 60 }] };
    assert.deepEqual(await resolver.addresses("x.test"), ["::1", "127.0.0.1", "127.0.0.2"]);
  });
});

describe("the order of SRV records", () => {
  it("follows weights within a priority", () => {
    const records = [srv("heavy", 1, 0, 60), srv("light", 1, 0, 20), srv("none", 1, 0, 0), srv("later", 1, 1, 100)];
    const first: Record<string, number> = {};
    for (let round = 0; round < 4_000; round++) {
      const ordered = orderByPriority(records, systemRandom);
      assert.equal(ordered[3]?.name, "later");
      const name = ordered[0]?.name ?? "";
      first[name] = (first[name] ?? 0) + 1;
    }
    // 60/81, 20/81 and 1/81 of 4,000; the bounds are more than six standard deviations wide.
    assert.ok(Math.abs((first.heavy ?? 0) - 2_963) < 200, `heavy came first ${first.heavy} times`);
    assert.ok(Math.abs((first.light ?? 0) - 988) < 200, `light came first ${first.light} times`);
    assert.ok((first.none ?? 0) > 0, "a record of weight 0 never came first");
  });

  it("is decided by the number drawn", () => {
    const records = [srv("a", 1, 0, 1), srv("b", 1, 0, 1)];
    const drawing = (number: number): Random => ({ ...systemRandom, below: (limit) => Math.min(number, limit - 1) });
    assert.deepEqual(
      orderByPriority(records, drawing(0)).map(({ name }) => name),
      ["a", "b"],
    );
    assert.deepEqual(
      orderByPriority(records, drawing(2)).map(({ name }) => name),
      ["b", "a"],
    );
  });
});
