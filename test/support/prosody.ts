// Starts a Prosody with its own folder, address and accounts. Stock configuration of the Debian package, without rate
// limits and without what needs further ports.

import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Account, storedPassword } from "./accounts.ts";
import { freeAddress, PORTS } from "./addresses.ts";
import { ServerProcess, temporaryFolder } from "./child.ts";
import type { PeerOptions, RunningServer } from "./server.ts";

const PROGRAM = "/usr/bin/prosody";

/** Why Prosody cannot be started here, or undefined when it can. */
export function prosodyMissing(): string | undefined {
  return existsSync(PROGRAM) ? undefined : "prosody is not installed";
}

const MODULES = [
  ..."disco roster saslauth tls blocklist bookmarks carbons dialback pep private smacks vcard4 vcard_legacy".split(" "),
  ..."csi_simple ping register time uptime version posix".split(" "),
];

/** Starts Prosody and resolves when it accepts clients and servers. */
export async function startProsody(options: PeerOptions): Promise<RunningServer> {
  const address = options.address ?? (await freeAddress());
  const folder = temporaryFolder("prosody");
  const data = join(folder, "data");
  writeAccounts(data, options.domain, options.accounts ?? []);
  writeFileSync(join(folder, "cert.pem"), options.identity.certificate);
  writeFileSync(join(folder, "key.pem"), options.identity.key, { mode: 0o600 });
  writeFileSync(join(folder, "ca.pem"), options.trust ?? options.identity.certificate);
  const log = join(folder, "prosody.log");
  const config = join(folder, "prosody.cfg.lua");
  const modules = [...MODULES, ...(options.modules ?? [])].filter(
    (name) => name !== "dialback" || options.federation !== "external",
  );
  writeFileSync(
    config,
    `run_as_root = true
daemonize = false
plugin_paths = { ${(options.pluginPaths ?? []).map(lua).join(", ")} }
data_path = ${lua(data)}
pidfile = ${lua(join(folder, "prosody.pid"))}
interfaces = { ${lua(address)} }
local_interfaces = { ${lua(address)} }
c2s_ports = { ${PORTS.c2s} }
c2s_direct_tls_ports = { ${PORTS.c2sTls} }
s2s_ports = { ${PORTS.s2s} }
http_ports = { }
https_ports = { }
use_ipv6 = false
modules_enabled = { ${modules.map(lua).join(", ")} }
authentication = "internal_hashed"
allow_registration = false
s2s_secure_auth = ${options.federation === "external"}
s2s_require_encryption = true
ssl = { key = ${lua(join(folder, "key.pem"))}; certificate = ${lua(join(folder, "cert.pem"))}; cafile = ${lua(join(folder, "ca.pem"))} }
${unbound(options.dns)}
log = { { levels = { min = ${lua(options.logLevel ?? "info")} }, to = "file", filename = ${lua(log)} } }
${options.extra ?? ""}
VirtualHost ${lua(options.domain)}
`,
  );
  const server = new ServerProcess("prosody", folder, [PROGRAM, "--config", config, "-F"], { logFiles: [log] });
  await server.listening(address, [PORTS.c2s, PORTS.c2sTls, PORTS.s2s]);
  return { kind: "prosody", domain: options.domain, address, process: server };
}

function unbound(dns: PeerOptions["dns"]): string {
  if (dns === undefined) return "unbound = { resolvconf = false; hoststxt = false; forward = { } }";
  return `unbound = { resolvconf = false; hoststxt = false; forward = { ${lua(`${dns.address}@${dns.port}`)} }; options = { ["do-not-query-localhost:"] = "no"; ["module-config:"] = "iterator" } }`;
}

function writeAccounts(data: string, domain: string, accounts: readonly Account[]): void {
  const host = join(data, encode(domain));
  const password = storedPassword(10_000);
  const account = `return {
	["iteration_count"] = ${password.iterations};
	["salt"] = ${lua(password.salt.toString())};
	["stored_key"] = "${password.storedKey.toString("hex")}";
	["server_key"] = "${password.serverKey.toString("hex")}";
};
`;
  for (const store of ["accounts", "roster"]) mkdirSync(join(host, store), { recursive: true });
  for (const { username, roster = [] } of accounts) {
    writeFileSync(join(host, "accounts", `${encode(username)}.dat`), account);
    const items = roster.map(
      ({ jid, subscription }) => `	[${lua(jid)}] = { ["subscription"] = ${lua(subscription)}; ["groups"] = { }; };\n`,
    );
    writeFileSync(
      join(host, "roster", `${encode(username)}.dat`),
      `return {\n	[false] = { ["version"] = 1; ["pending"] = { }; };\n${items.join("")}};\n`,
    );
  }
}

/** Prosody's encoding of names in file names. */
function encode(name: string): string {
  return name.replace(/[^A-Za-z0-9]/g, (c) => `%${c.charCodeAt(0).toString(16).padStart(2, "0")}`);
}

function lua(text: string): string {
  return JSON.stringify(text);
}
