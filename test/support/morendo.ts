// Starts a Morendo with its own folder, address and accounts.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { DrainReport } from "../../src/shutdown/report.ts";
import { PASSWORD } from "./accounts.ts";
import { freeAddress, PORTS } from "./addresses.ts";
import { ServerProcess, temporaryFolder } from "./child.ts";
import { MAIN, NODE, runnable } from "./program.ts";
import { commandIn } from "./run-command.ts";
import type { PeerOptions, RunningServer } from "./server.ts";

const WITH_MODULES = runnable(new URL("start-with-modules.ts", import.meta.url));

/** Starts Morendo and resolves when it accepts clients and servers. Its drain report is in the data folder. */
export async function startMorendo(options: PeerOptions): Promise<RunningServer> {
  const prepared = await prepareMorendo(options);
  const running = prepared.start();
  await running.process.listening(running.address, Object.values(PORTS));
  return running;
}

/** Writes the files of a Morendo and imports its accounts; the returned function starts it and waits for nothing. */
export async function prepareMorendo(options: PeerOptions): Promise<{ folder: string; start(): RunningServer }> {
  const address = options.address ?? (await freeAddress());
  const folder = temporaryFolder("morendo");
  const path = (name: string): string => join(folder, name);
  mkdirSync(path("data"));
  writeFileSync(path("cert.pem"), options.identity.certificate);
  writeFileSync(path("key.pem"), options.identity.key, { mode: 0o600 });
  writeFileSync(path("ca.pem"), options.trust ?? options.identity.certificate);
  const modules = ["roster", "presence", "offline", "disco", "ping", "version", "time", ...(options.modules ?? [])];
  const { dns } = options;
  const config = path("morendo.toml");
  writeFileSync(
    config,
    `data = ${quoted(path("data"))}
modules = ${JSON.stringify(modules)}
[[hosts]]
name = ${quoted(options.domain)}
certificate = ${quoted(path("cert.pem"))}
key = ${quoted(path("key.pem"))}
[c2s]
listen = [${quoted(`${address}:${PORTS.c2s}`)}]
listen_tls = [${quoted(`${address}:${PORTS.c2sTls}`)}]
max_connections_per_address = 20000
${options.unlimited === true ? 'rate = "1GiB"\nburst = "1GiB"' : ""}
[s2s]
listen = [${quoted(`${address}:${PORTS.s2s}`)}]
dialback = ${quoted(options.federation === "external" ? "deny" : "allow")}
trusted_roots = [${quoted(path("ca.pem"))}]
[dns]
servers = [${dns === undefined ? "" : quoted(`${dns.address}:${dns.port}`)}]
[log]
level = ${quoted(options.logLevel ?? "info")}
${options.extra ?? ""}
`,
  );
  const accounts = (options.accounts ?? []).map(({ username, roster = [] }) =>
    JSON.stringify({ jid: `${username}@${options.domain}`, password: PASSWORD, roster }),
  );
  if (accounts.length > 0) {
    writeFileSync(path("accounts.jsonl"), `${accounts.join("\n")}\n`);
    const { code, output } = await commandIn(folder, ["user", "import", path("accounts.jsonl"), "--config", config]);
    if (code !== 0) throw new Error(output);
  }
  const start =
    options.moduleFolder === undefined
      ? ([...NODE, MAIN, "start", "--config", config] as const)
      : ([...NODE, WITH_MODULES, config, options.moduleFolder] as const);
  return {
    folder,
    start: () => ({
      kind: "morendo",
      domain: options.domain,
      address,
      process: new ServerProcess("morendo", folder, start),
    }),
  };
}

/** The drain report of the last run in a Morendo's folder, or undefined when there is none. */
export function readDrainReport(folder: string): DrainReport | undefined {
  const path = join(folder, "data", "last-drain.json");
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : undefined;
}

function quoted(text: string): string {
  return JSON.stringify(text);
}
