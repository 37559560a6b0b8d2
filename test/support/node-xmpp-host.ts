// Starts hosts built on node-xmpp-server, each as a process of its own because it may crash: the example of the
// documentation, or any other program that imports `node-xmpp-server` and `morendo/node-xmpp-server` by name.

import { copyFileSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { DrainReport } from "../../src/shutdown/report.ts";
import { freeAddress, PORTS } from "./addresses.ts";
import { TestAuthority } from "./certificates.ts";
import { ServerProcess, temporaryFolder } from "./child.ts";
import { readDrainReport } from "./morendo.ts";
import { LOADER, runnable } from "./program.ts";

const MODULES = fileURLToPath(new URL("node-xmpp-server/node_modules", import.meta.url));
const ADAPTER = runnable(new URL("../../src/adapters/node-xmpp-server.ts", import.meta.url));
/** The host that docs/node-xmpp-server.md shows. */
export const EXAMPLE = fileURLToPath(new URL("../../docs/examples/node-xmpp-server/host.mjs", import.meta.url));
/** The host that tests steer. */
export const SCENES = fileURLToPath(new URL("node-xmpp-scenes.mjs", import.meta.url));

/** The password of every account of a host. */
export const HOST_PASSWORD = "secret";

/** Why no such host can be started here, or undefined when it can. */
export function nodeXmppServerMissing(): string | undefined {
  return existsSync(join(MODULES, "node-xmpp-server"))
    ? undefined
    : "node-xmpp-server is not installed (make other-host)";
}

export interface HostOptions {
  /** The program: the documentation's example unless told. */
  readonly program?: string;
  readonly domain?: string;
  /** The name server to ask. */
  readonly dns?: { readonly address: string; readonly port: number };
  readonly env?: Readonly<Record<string, string>>;
}

/** A running host. */
export interface RunningHost {
  readonly domain: string;
  readonly address: string;
  readonly process: ServerProcess;
  /** The report of its stop, if it has written one. */
  report(): DrainReport | undefined;
}

/** Starts a host and resolves when it says that it is ready. */
export async function startHost(options: HostOptions = {}): Promise<RunningHost> {
  const { program = EXAMPLE, domain = "host.example", dns, env = {} } = options;
  const address = await freeAddress();
  const folder = temporaryFolder("node-xmpp-server");
  const path = (...names: string[]): string => join(folder, ...names);
  const { chain, key } = TestAuthority.create().issue([domain]);
  mkdirSync(path("data"));
  mkdirSync(path("node_modules", "morendo"), { recursive: true });
  writeFileSync(path("cert.pem"), chain);
  writeFileSync(path("key.pem"), key, { mode: 0o600 });
  copyFileSync(program, path(basename(program)));
  // The names as an owner's program has them, leading to the package under test and to the sources.
  symlinkSync(join(MODULES, "node-xmpp-server"), path("node_modules", "node-xmpp-server"));
  const exports = { "./node-xmpp-server": "./node-xmpp-server.mjs" };
  writeFileSync(path("node_modules", "morendo", "package.json"), JSON.stringify({ name: "morendo", exports }));
  writeFileSync(path("node_modules", "morendo", "node-xmpp-server.mjs"), `export * from ${JSON.stringify(ADAPTER)};\n`);
  const preload =
    dns === undefined
      ? []
      : ["--import", asModule(`import dns from "node:dns";\ndns.setServers(["${dns.address}:${dns.port}"]);`)];
  const child = new ServerProcess(
    "node-xmpp-server",
    folder,
    [process.execPath, "--no-warnings", ...LOADER, ...preload, path(basename(program))],
    {
      env: { DOMAIN: domain, ADDRESS: address, C2S_PORT: String(PORTS.c2s), S2S_PORT: String(PORTS.s2s), ...env },
    },
  );
  await child.until(() => child.log.includes(`${domain} is ready`), "readiness");
  return { domain, address, process: child, report: () => readDrainReport(folder) };
}

function asModule(source: string): string {
  return `data:text/javascript,${encodeURIComponent(source)}`;
}
