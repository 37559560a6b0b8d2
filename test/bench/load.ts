// The load generator: a process of its own that holds the clients, so that what they cost is not counted as the server's.
// It is driven over Node's IPC channel by load-process.ts.

import { RawClient } from "../../src/testing/raw-client.ts";
import { PASSWORD } from "../support/accounts.ts";
import { PORTS } from "../support/addresses.ts";
import type { LoadCommand, LoadReply, Target } from "./load-process.ts";

const clients: RawClient[] = [];

process.on("message", (command: LoadCommand) => {
  run(command).then(
    (result) => reply({ id: command.id, result }),
    (error: unknown) =>
      reply({ id: command.id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  );
});

async function run(command: LoadCommand): Promise<Record<string, number>> {
  switch (command.op) {
    case "login": {
      const logged = await inParallel(command.count, command.concurrency, async (index) => {
        const client = await login(command.target, `u${command.first + index}`);
        if (command.presence) client.presence();
        return client;
      });
      clients.push(...logged);
      return { clients: clients.length };
    }
    case "churn": {
      await inParallel(command.count, command.concurrency, async (index) => {
        const client = await login(command.target, `u${index % command.accounts}`);
        await client.close();
      });
      return { logins: command.count };
    }
    case "messages":
      return messages(command.pairs, command.window, command.seconds);
    case "close":
      for (const client of clients) client.destroy();
      clients.length = 0;
      return {};
  }
}

function login(target: Target, username: string): Promise<RawClient> {
  const { host, domain } = target;
  return RawClient.login({
    host,
    port: PORTS.c2s,
    domain,
    username,
    password: PASSWORD,
    resource: "bench",
    mechanism: "PLAIN",
    record: false,
    timeoutMs: 6e4,
  });
}

/** Client 2i sends to client 2i+1, which has always `window` messages under way to it. Counts what arrives. */
async function messages(pairs: number, window: number, seconds: number): Promise<Record<string, number>> {
  let arrived = 0;
  let running = true;
  let owed = 0;
  for (let pair = 0; pair < pairs; pair++) {
    const sender = clients[2 * pair];
    const receiver = clients[2 * pair + 1];
    if (sender === undefined || receiver === undefined) throw new Error("log in twice as many clients as pairs first");
    const text = `<message to='${receiver.jid}' type='chat' id='m1'><body>Meet me at the old pond at seven, and bring the frog.</body></message>`;
    let credit = 0;
    const flush = (): void => {
      const count = credit;
      credit = 0;
      if (!running || count === 0) return;
      owed += count;
      sender.send(text.repeat(count));
    };
    receiver.onElement = (xml) => {
      if (!xml.startsWith("<message")) return;
      arrived += 1;
      owed -= 1;
      // One write for all that came in one read, as a client with several windows open would.
      if (credit++ === 0) setImmediate(flush);
    };
    credit = window;
    flush();
  }
  const started = performance.now();
  await new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
  running = false;
  const elapsed = performance.now() - started;
  const counted = arrived;
  const limit = performance.now() + 10_000;
  while (owed > 0 && performance.now() < limit) await new Promise((resolve) => setTimeout(resolve, 20));
  return { arrived: counted, total: arrived, lost: owed, ms: elapsed };
}

async function inParallel<T>(count: number, concurrency: number, act: (index: number) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++) results[index] = await act(index);
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, count) }, worker));
  return results;
}

function reply(message: LoadReply): void {
  process.send?.(message);
}
