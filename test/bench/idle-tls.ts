// Measures what an idle TLS connection costs a process that does nothing but accept it: resident memory of each, and CPU
// time of each handshake. The clients are a process of their own. Usage: tsx test/bench/idle-tls.ts [connections]

import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as tlsConnect } from "node:tls";
import { TcpNetwork } from "../../src/net/tcp.ts";
import { TlsContexts } from "../../src/net/tls-contexts.ts";
import type { Transport } from "../../src/net/transport.ts";
import { systemClock } from "../../src/util/clock.ts";
import { silentLog } from "../../src/util/log.ts";
import { TestAuthority } from "../support/certificates.ts";

const AT_ONCE = 20;
const nothing = (): void => undefined;

async function serve(count: number): Promise<void> {
  const files = await TestAuthority.create().issueFiles(await mkdtemp(join(tmpdir(), "morendo-bench-")), ["a.test"]);
  const hosts = [{ name: "a.test", certificate: files.chain, key: files.key }];
  const certificates = await TlsContexts.load({ hosts, trustedRoots: [], clock: systemClock, log: silentLog });
  const network = new TcpNetwork({ clock: systemClock, log: silentLog });
  const transports = new Set<Transport>();
  const tls = { role: "server", certificates, requestCertificate: false } as const;
  const reader = { onData: nothing, onEnd: nothing, onDrain: nothing, onClose: nothing };
  let greeted = 0;
  const greet = (transport: Transport): void => {
    greeted++;
    transport.write("hello".repeat(100));
  };
  const listener = await network.listen({ host: "127.0.0.1", port: 0, tls }, ({ transport, ready }) => {
    transports.add(transport);
    transport.setReader(reader);
    ready.then(
      () => greet(transport),
      () => transports.delete(transport),
    );
  });
  const round = async (connections: number): Promise<{ memory: number; heap: number; cpu: number }> => {
    await settle();
    const before = process.memoryUsage();
    const cpuBefore = process.cpuUsage();
    const goal = greeted + connections;
    const child = fork(new URL(import.meta.url), ["client", String(listener.port), String(connections)]);
    await once(child, "message");
    while (greeted < goal) await systemClock.sleep(20);
    const cpu = process.cpuUsage(cpuBefore);
    await settle();
    const after = process.memoryUsage();
    child.kill();
    await once(child, "exit");
    await systemClock.sleep(500);
    for (const transport of transports) transport.destroy();
    transports.clear();
    return {
      memory: (after.rss - before.rss) / connections,
      heap: (after.heapUsed - before.heapUsed) / connections,
      cpu: (cpu.user + cpu.system) / connections,
    };
  };
  await round(100);
  const { memory, heap, cpu } = await round(count);
  process.stdout.write(
    `${count} idle TLS connections: ${(memory / 1024).toFixed(1)} KiB resident each, of which ${(heap / 1024).toFixed(1)} KiB heap; ${(cpu / 1000).toFixed(2)} ms CPU per handshake\n`,
  );
  await listener.close();
}

/** Lets the collector run, so that what is measured is what stays. */
async function settle(): Promise<void> {
  for (let pass = 0; pass < 4; pass++) {
    globalThis.gc?.();
    await systemClock.sleep(300);
  }
}

async function connectAll(port: number, count: number): Promise<void> {
  const one = async (): Promise<void> => {
    const socket = tlsConnect({ host: "127.0.0.1", port, servername: "a.test", rejectUnauthorized: false });
    socket.resume();
    await once(socket, "secureConnect");
  };
  for (let left = count; left > 0; left -= AT_ONCE) {
    await Promise.all(Array.from({ length: Math.min(left, AT_ONCE) }, one));
  }
  process.send?.("connected");
}

const [role, port, count] = process.argv.slice(2);
if (role === "client") await connectAll(Number(port), Number(count));
else await serve(Number(role ?? 2_000));
