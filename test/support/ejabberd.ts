// Starts an ejabberd with its own folder, address and accounts, as one Erlang process without distribution: no epmd, no
// node name, nothing shared with an ejabberd of the machine. The Debian package's modules that take part in a client's
// or a server's session are on; rate limits are off. Passwords are stored in plain text, which is ejabberd's own default
// and its fastest; Debian's configuration file says otherwise.

import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Account, PASSWORD } from "./accounts.ts";
import { freeAddress, PORTS } from "./addresses.ts";
import { ServerProcess, temporaryFolder } from "./child.ts";
import type { PeerOptions, RunningServer } from "./server.ts";

const ERLANG = "/usr/bin/erl";
const LIBRARIES = "/usr/lib/x86_64-linux-gnu";

/** Why ejabberd cannot be started here, or undefined when it can. */
export function ejabberdMissing(): string | undefined {
  return existsSync(ERLANG) && existsSync("/usr/sbin/ejabberdctl") ? undefined : "ejabberd is not installed";
}

/** Starts ejabberd and resolves when it accepts clients and servers. */
export async function startEjabberd(options: PeerOptions): Promise<RunningServer> {
  const address = options.address ?? (await freeAddress());
  const folder = temporaryFolder("ejabberd");
  const path = (name: string): string => join(folder, name);
  mkdirSync(path("spool"));
  writeFileSync(path("identity.pem"), `${options.identity.certificate}\n${options.identity.key}`, { mode: 0o600 });
  writeFileSync(path("ca.pem"), options.trust ?? options.identity.certificate);
  // YAML is a superset of JSON.
  writeFileSync(path("ejabberd.yml"), JSON.stringify(configuration(options, address, path), undefined, 1));
  writeFileSync(path("inetrc"), resolver(options.dns));
  writeFileSync(
    path("accounts.term"),
    (options.accounts ?? []).map((account) => terms(account, options.domain)).join(""),
  );
  writeFileSync(path("setup.erl"), SETUP.replace("ACCOUNTS", erlang(path("accounts.term"))));
  const process_ = new ServerProcess(
    "ejabberd",
    folder,
    [
      ERLANG,
      ..."+K true +P 250000 -noshell".split(" "),
      "-mnesia",
      "dir",
      erlang(path("spool")),
      "-s",
      "ejabberd",
      "-eval",
      `ok = file:eval(${erlang(path("setup.erl"))}).`,
    ],
    {
      logFiles: [path("ejabberd.log")],
      env: {
        ERL_LIBS: LIBRARIES,
        ERL_INETRC: path("inetrc"),
        ERL_MAX_PORTS: "32000",
        ERL_CRASH_DUMP_BYTES: "0",
        EJABBERD_CONFIG_PATH: path("ejabberd.yml"),
        EJABBERD_LOG_PATH: path("ejabberd.log"),
        HOME: folder,
      },
    },
  );
  await process_.until(() => process_.log.includes("SETUP-DONE"), "set-up of the accounts", 80_000);
  await process_.listening(address, Object.values(PORTS));
  return { kind: "ejabberd", domain: options.domain, address, process: process_ };
}

function configuration(options: PeerOptions, address: string, path: (name: string) => string): object {
  const modules =
    "adhoc blocking caps carboncopy client_state disco last offline ping privacy private stream_mgmt vcard version";
  const external = options.federation === "external";
  return {
    loglevel: options.logLevel === "warn" ? "warning" : (options.logLevel ?? "info"),
    log_rotate_count: 0,
    hosts: [options.domain],
    certfiles: [path("identity.pem")],
    ca_file: path("ca.pem"),
    s2s_cafile: path("ca.pem"),
    s2s_use_starttls: "required",
    disable_sasl_mechanisms: ["digest-md5", "X-OAUTH2"],
    auth_password_format: "plain",
    outgoing_s2s_families: ["ipv4"],
    acl: { local: { user_regexp: "" } },
    access_rules: { local: { allow: "local" }, c2s: { allow: "all" } },
    shaper_rules: { max_user_sessions: 10, max_user_offline_messages: 100_000 },
    listen: [
      {
        port: PORTS.c2s,
        ip: address,
        module: "ejabberd_c2s",
        max_stanza_size: 262_144,
        access: "c2s",
        starttls_required: true,
      },
      { port: PORTS.c2sTls, ip: address, module: "ejabberd_c2s", max_stanza_size: 262_144, access: "c2s", tls: true },
      { port: PORTS.s2s, ip: address, module: "ejabberd_s2s_in", max_stanza_size: 524_288 },
    ],
    modules: {
      ...Object.fromEntries(modules.split(" ").map((name) => [`mod_${name}`, {}])),
      mod_offline: { access_max_user_messages: "max_user_offline_messages" },
      mod_roster: { versioning: true },
      mod_pubsub: { plugins: ["flat", "pep"] },
      ...(external ? {} : { mod_s2s_dialback: {} }),
      ...Object.fromEntries((options.modules ?? []).map((name) => [name, {}])),
    },
  };
}

function resolver(dns: PeerOptions["dns"]): string {
  const local =
    '{host, {127,0,0,1}, ["localhost"]}.\n{resolv_conf, ""}.\n{hosts_file, ""}.\nclear_ns.\nclear_search.\n';
  if (dns === undefined) return `${local}{lookup, [file]}.\n`;
  const name = `{${dns.address.replaceAll(".", ",")}}`;
  return `${local}{nameserver, ${name}, ${dns.port}}.\n{lookup, [file, dns]}.\n{timeout, 2000}.\n{retry, 2}.\n`;
}

/** Writes the records of one account the way ejabberd's mnesia tables hold them. */
function terms({ username, roster = [] }: Account, domain: string): string {
  const user = `{${binary(username)},${binary(domain)}}`;
  const items = roster.map(({ jid, subscription }) => {
    const [name = "", server = ""] = jid.split("@");
    const contact = `{${binary(name)},${binary(server)},<<>>}`;
    return `{roster,{${binary(username)},${binary(domain)},${contact}},${user},${contact},<<>>,${subscription},none,[],<<>>,[]}.\n`;
  });
  return `{passwd,${user},${binary(PASSWORD)}}.\n${items.join("")}`;
}

const SETUP = `{ok, _} = application:ensure_all_started(ejabberd).
{ok, Records} = file:consult(ACCOUNTS).
lists:foreach(fun(Record) -> ok = mnesia:dirty_write(Record) end, Records).
io:format("SETUP-DONE~n").
`;

function erlang(text: string): string {
  return JSON.stringify(text);
}

function binary(text: string): string {
  return `<<${JSON.stringify(text)}>>`;
}
