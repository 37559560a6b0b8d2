// What a server costs while it serves: logins and messages per second of its processor time, memory per idle session.
// The same load for every kind of server.

import type { Account } from "../support/accounts.ts";
import { sleep } from "../support/child.ts";
import { Network } from "../support/network.ts";
import type { RunningServer, ServerKind } from "../support/server.ts";
import { LoadProcess } from "./load-process.ts";
import { cpuSeconds, memoryBytes } from "./proc.ts";

/** The shapes of the three loads; printed with the results. */
export interface CostOptions {
  readonly logins: number;
  readonly concurrency: number;
  readonly sessions: number;
  readonly pairs: number;
  readonly window: number;
  readonly seconds: number;
}

/** Logins (STARTTLS, PLAIN, bind) per second of the server's processor time. */
export function loginRate(kind: ServerKind, options: CostOptions): Promise<Record<string, number>> {
  return withServer(kind, 200, async (server, load) => {
    const target = { host: server.address, domain: server.domain };
    const churn = (count: number) =>
      load.run({ op: "churn", target, accounts: 200, count, concurrency: options.concurrency });
    await churn(Math.ceil(options.logins / 4));
    const before = cpuSeconds(server.process.pid);
    const started = performance.now();
    await churn(options.logins);
    const cpu = cpuSeconds(server.process.pid) - before;
    return { perCpuSecond: options.logins / cpu, perSecond: (options.logins * 1_000) / (performance.now() - started) };
  });
}

/** Bytes of memory (PSS) that each of `sessions` idle TLS sessions adds. */
export function idleMemory(kind: ServerKind, options: CostOptions): Promise<Record<string, number>> {
  const warmUp = 50;
  return withServer(kind, options.sessions + warmUp, async (server, load) => {
    const target = { host: server.address, domain: server.domain };
    const login = (first: number, count: number) =>
      load.run({ op: "login", target, first, count, concurrency: options.concurrency, presence: true });
    await login(0, warmUp);
    await sleep(5_000);
    const before = memoryBytes(server.process.pid);
    await login(warmUp, options.sessions);
    await sleep(15_000);
    return { bytesPerSession: (memoryBytes(server.process.pid) - before) / options.sessions, baseBytes: before };
  });
}

/** Chat messages delivered between local TLS clients per second of the server's processor time. */
export function messageRate(kind: ServerKind, options: CostOptions): Promise<Record<string, number>> {
  return withServer(kind, 2 * options.pairs, async (server, load) => {
    const target = { host: server.address, domain: server.domain };
    const { pairs, window, seconds, concurrency } = options;
    await load.run({ op: "login", target, first: 0, count: 2 * pairs, concurrency, presence: true });
    await load.run({ op: "messages", pairs, window, seconds: 3 });
    const before = cpuSeconds(server.process.pid);
    const { total = 0, lost = 0, ms = 1, arrived = 0 } = await load.run({ op: "messages", pairs, window, seconds });
    const cpu = cpuSeconds(server.process.pid) - before;
    return { perCpuSecond: total / cpu, perSecond: (arrived * 1_000) / ms, lost };
  });
}

async function withServer<T>(
  kind: ServerKind,
  accounts: number,
  act: (server: RunningServer, load: LoadProcess) => Promise<T>,
): Promise<T> {
  const network = await Network.create();
  const load = new LoadProcess();
  network.add(() => load.stop());
  try {
    const list: Account[] = Array.from({ length: accounts }, (_, index) => ({ username: `u${index}` }));
    return await act(
      await network.start(kind, { domain: "bench.test", accounts: list, logLevel: "warn", unlimited: true }),
      load,
    );
  } finally {
    await network.stop();
  }
}
