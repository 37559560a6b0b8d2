// Real processes with a real disk, killed (-9) at any instant while users write: in the middle of work, of a stop, of a
// restart (predecessor, successor or both), of a suspension or as it ends. The next one starts on what is there, and nothing that the server said it has
// stored is missing. `KILLS=300` for a longer run.

import assert from "node:assert/strict";
import { connect } from "node:net";
import { attributeOf, RawClient } from "../../src/testing/raw-client.ts";
import { SeededRandom } from "../../src/testing/simulation/seeded-random.ts";
import { PASSWORD } from "../support/accounts.ts";
import { PORTS } from "../support/addresses.ts";
import { TestAuthority } from "../support/certificates.ts";
import { sleep } from "../support/child.ts";
import { ask } from "../support/control.ts";
import { processesWith } from "../support/generations.ts";
import { prepareMorendo, readDrainReport } from "../support/morendo.ts";
import type { RunningServer } from "../support/server.ts";
import { type Clients, SmClient } from "../support/sm-client.ts";

const KILLS = Number(process.env.KILLS ?? 10);
const SEED = Number(process.env.KILL_SEED ?? 1);
/** In the middle of what the server is killed, one after the other. */
const HOWS = ["work", "restart", "stop", "suspend", "restart", "resume"] as const;
const WRITERS = ["romeo", "paris", "tybalt"];
const ASK = "<r xmlns='urn:xmpp:sm:3'/>";

/** Somebody who writes to the nurse, who is away, and remembers what the server has said of it. */
class Writer {
  readonly written = new Map<string, number>();
  readonly carried = new Set<string>();
  readonly #name: string;
  #client: SmClient | undefined;
  #order: string[] = [];

  constructor(name: string) {
    this.#name = name;
  }

  /** Logs in at a new server, and writes again what the last one had not said that it has. */
  async come(clients: Clients): Promise<void> {
    this.#order = [];
    this.#client = await SmClient.start(clients, this.#name, "r");
    for (const id of this.written.keys()) if (!this.carried.has(id)) this.#write(id);
    this.#client.raw.send(ASK);
  }

  write(): void {
    if (this.#client?.raw.writable !== true) return;
    this.#write(`${this.#name}-${this.written.size}`);
    this.#client.raw.send(ASK);
  }

  /** What the last answer covers is the server's now. */
  note(): void {
    const last = this.#client?.raw.received.findLast(({ xml }) => xml.startsWith("<a "))?.xml;
    const h = last === undefined ? 0 : Number(attributeOf(last, "h"));
    for (const id of this.#order.slice(0, h)) this.carried.add(id);
  }

  get isDone(): boolean {
    this.note();
    return this.carried.size === this.written.size;
  }

  leave(): void {
    this.note();
    this.#client?.raw.destroy();
  }

  #write(id: string): void {
    this.written.set(id, (this.written.get(id) ?? 0) + 1);
    this.#order.push(id);
    this.#client?.raw.send(`<message to='nurse@local.example' id='${id}' type='chat'><body>hear me</body></message>`);
  }
}

describe("Processes that are killed at any instant", function () {
  this.timeout(60_000 + KILLS * 15_000);

  it(`leave a disk on which the next one starts, with everything that was said to be stored (seed ${SEED})`, async () => {
    const random = new SeededRandom(SEED);
    const accounts = [...WRITERS, "nurse"].map((username) => ({ username }));
    const { chain, key } = TestAuthority.create().issue(["local.example"]);
    const { folder, start } = await prepareMorendo({
      domain: "local.example",
      accounts,
      identity: { certificate: chain, key },
      extra: '[shutdown]\nresumable = "keep"\n[module.offline]\nmax_messages = 100000\n',
    });
    const writers = WRITERS.map((name) => new Writer(name));
    let server: RunningServer | undefined;
    const begin = async (): Promise<Clients> => {
      const running = start();
      server = running;
      await running.process.until(() => accepts(running.address, PORTS.c2sTls), "listener", 120_000);
      return { client: (options = {}) => clientOf(running.address, options) };
    };
    try {
      for (let kill = 0; kill < KILLS; kill++) {
        const clients = await begin();
        await Promise.all(writers.map((writer) => writer.come(clients)));
        const how = HOWS[kill % HOWS.length];
        await writeFor(writers, random.below(250), random);
        if (how === "stop") server?.process.signal("SIGTERM");
        if (how === "restart") server?.process.signal("SIGUSR2");
        // The answer may be cut off by the kill.
        if (how === "suspend" || how === "resume")
          void suspend(folder, random, how === "resume").catch(() => undefined);
        await writeFor(writers, random.below(how === "restart" ? 1_200 : 150), random);
        await killAll(folder, random);
        await server?.process.exited;
        // A process that is not in the list any more may still have its sockets for a moment.
        while (server !== undefined && (await accepts(server.address, PORTS.c2sTls))) await sleep(5);
        for (const writer of writers) writer.leave();
      }
      const clients = await begin();
      await Promise.all(writers.map((writer) => writer.come(clients)));
      await server?.process.until(() => writers.every((writer) => writer.isDone), "an answer about every message");
      const nurse = clients.client({ username: "nurse", resource: "r" });
      await nurse.login();
      nurse.presence();
      const seen = (): Map<string, number> => countsOf(nurse);
      const all = writers.flatMap((writer) => [...writer.written]);
      await server?.process
        .until(() => all.every(([id]) => seen().has(id)), `all of ${all.length} messages`, 20_000)
        .catch(() => undefined);
      assert.deepEqual(
        all.filter(([id]) => !seen().has(id)).map(([id]) => id),
        [],
        "said to be stored, and gone",
      );
      assert.deepEqual(
        all.filter(([id, written]) => (seen().get(id) ?? 0) > written),
        [],
        "came more often than it was written",
      );
      nurse.destroy();
      for (const writer of writers) writer.leave();
      server?.process.signal("SIGTERM");
      assert.equal((await server?.process.exited)?.code, 0);
      assert.equal(readDrainReport(folder)?.outcome, "clean");
    } finally {
      for (const pid of processesWith(folder)) kill(pid);
      await server?.process.stop();
    }
  });
});

function accepts(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}

async function writeFor(writers: readonly Writer[], ms: number, random: SeededRandom): Promise<void> {
  const end = performance.now() + ms;
  do {
    for (const writer of writers) if (random.chance(0.4)) writer.write();
    await sleep(random.below(25));
  } while (performance.now() < end);
}

/** Suspends in either mode, and resumes again if it is to, at some moment. */
async function suspend(folder: string, random: SeededRandom, resumes: boolean): Promise<void> {
  const suspended = ask(folder, "suspend", { mode: random.pick(["hold", "hold", "refuse"]), reason: "a test" });
  suspended.catch(() => undefined);
  if (!resumes) return void (await suspended);
  await sleep(random.below(100));
  await ask(folder, "resume", {});
}

/** Kills every process there is, in any order, perhaps with some time in between. */
async function killAll(folder: string, random: SeededRandom): Promise<void> {
  for (let pids = processesWith(folder); pids.length > 0; pids = processesWith(folder)) {
    kill(pids[random.below(pids.length)] ?? 0);
    await sleep(random.chance(0.5) ? 0 : random.below(400));
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended meanwhile.
  }
}

function countsOf(client: RawClient): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { xml } of client.received) {
    const id = xml.startsWith("<message") ? attributeOf(xml, "id") : undefined;
    if (id !== undefined) counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  return counts;
}

function clientOf(address: string, options: Partial<ConstructorParameters<typeof RawClient>[0]>): RawClient {
  return new RawClient({
    host: address,
    port: PORTS.c2sTls,
    domain: "local.example",
    password: PASSWORD,
    security: "direct",
    mechanism: "PLAIN",
    ...options,
  });
}
