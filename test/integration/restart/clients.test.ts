// Clients that are not ours go through real restarts: each resumes its session in every successor, every message comes once,
// and their contact sees nothing of it. Not for: broken connections (../c2s/sm-client-library.test.ts) and load.

import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { PASSWORD } from "../../support/accounts.ts";
import { PORTS } from "../../support/addresses.ts";
import { TestAuthority } from "../../support/certificates.ts";
import { ended, restarted } from "../../support/control.ts";
import { startMorendo } from "../../support/morendo.ts";
import { LOCAL as DOMAIN, SteadyUser } from "../../support/restart-scenario.ts";
import type { RunningServer } from "../../support/server.ts";
import { skip } from "../../support/skip.ts";
import { PYTHON } from "../../support/slixmpp.ts";
import { waitUntil } from "../../support/wire.ts";

const ROUNDS = 3;
const PACE_MS = 60;

/** A client library or program. */
interface Kind {
  readonly name: string;
  readonly username: string;
  /** The program to start, and what it needs besides the usual arguments. */
  readonly command: readonly [string, ...string[]];
  /** Succeeds where the client is installed, and how to get it. */
  readonly probe?: { readonly command: readonly [string, ...string[]]; readonly hint: string };
  /** It sends again what was on its way when the connection ended; others are silent at that moment. */
  readonly sendsAgain: boolean;
}

const KINDS: readonly Kind[] = [
  {
    name: "@xmpp/client",
    username: "node",
    command: [process.execPath, child("sm-library-child.mjs")],
    sendsAgain: true,
  },
  {
    name: "slixmpp",
    username: "python",
    command: [...PYTHON, child("sm-library-child.py")],
    probe: { command: [...PYTHON, "-c", "import slixmpp"], hint: "Debian: python3-slixmpp" },
    sendsAgain: false,
  },
  {
    name: "profanity",
    username: "terminal",
    command: [...PYTHON, child("sm-profanity-child.py")],
    probe: { command: ["profanity", "--version"], hint: "Debian: profanity" },
    sendsAgain: false,
  },
];

/** A user of a client, and what it printed. */
class User {
  readonly kind: Kind;
  readonly jid: string;
  readonly lines: string[] = [];
  /** The numbers of the last messages to and from it. */
  to = 0;
  from = 0;
  #child: ChildProcess;

  constructor(kind: Kind, server: RunningServer, root: string) {
    this.kind = kind;
    this.jid = `${kind.username}@${DOMAIN}`;
    const [file, ...before] = kind.command;
    const args = [...before, server.address, String(PORTS.c2s), DOMAIN, kind.username, PASSWORD, root];
    this.#child = spawn(file, args, {
      env: { ...process.env, NODE_EXTRA_CA_CERTS: root },
      stdio: ["pipe", "pipe", "ignore"],
    });
    if (this.#child.stdout === null) throw new Error("no output");
    createInterface({ input: this.#child.stdout }).on("line", (line) => this.lines.push(line));
    // A client that has ended has printed too little, which is told soon enough.
    this.#child.stdin?.on("error", () => undefined);
  }

  said(line: string): number {
    return this.lines.filter((one) => one === line).length;
  }

  /** The bodies of the messages it got. */
  get got(): string[] {
    return this.lines.flatMap((line) => (line.startsWith("message ") ? [line.slice("message ".length)] : []));
  }

  /** Lets it write to `contact`. */
  write(contact: SteadyUser): void {
    this.#child.stdin?.write(`send ${contact.jid} ${this.kind.username}${++this.from}\n`);
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const over = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.stdin?.end();
    this.#child.kill();
    await over;
  }
}

describe("clients of other makers, through three restarts", () => {
  let server: RunningServer | undefined;
  let contact: SteadyUser | undefined;
  let pid: number | undefined;
  const users: User[] = [];

  before(async function () {
    this.timeout(120_000);
    const authority = TestAuthority.create();
    const { chain, key } = authority.issue([DOMAIN]);
    const roster = (jids: readonly string[]) => jids.map((jid) => ({ jid, subscription: "both" as const }));
    server = await startMorendo({
      domain: DOMAIN,
      identity: { certificate: chain, key },
      accounts: [
        { username: "romeo", roster: roster(KINDS.map(({ username }) => `${username}@${DOMAIN}`)) },
        ...KINDS.map(({ username }) => ({ username, roster: roster([`romeo@${DOMAIN}`]) })),
      ],
    });
    const { folder } = server.process;
    const root = join(folder, "root.pem");
    writeFileSync(root, authority.root);
    const romeo = await SteadyUser.start("romeo", server.address, false);
    contact = romeo;
    for (const kind of KINDS) if (isInstalled(kind)) users.push(new User(kind, server, root));
    for (const user of users) await waitUntil(() => user.said(`online ${user.jid}/lib`) === 1, `${user.jid} online`);

    const arrived = new Set<string>();
    let isBreaking = false;
    const exchange = setInterval(() => {
      for (const user of users) {
        const body = `m${++user.to}`;
        romeo.send(`<message to='${user.jid}' id='${body}' type='chat'><body>${body}</body></message>`);
        if (user.kind.sendsAgain || !isBreaking) user.write(romeo);
      }
    }, PACE_MS);
    const allCame = (some: readonly User[]): boolean => {
      for (const body of bodiesOf(romeo)) arrived.add(body);
      return some.every(({ kind, from }) => arrived.has(`${kind.username}${from}`));
    };
    try {
      for (let round = 1; round <= ROUNDS; round++) {
        const before = users.map(({ from }) => from);
        await waitUntil(() => users.every(({ from }, index) => from > (before[index] ?? 0) + 5), "some messages");
        isBreaking = true;
        const quiet = users.filter(({ kind }) => !kind.sendsAgain);
        await waitUntil(() => allCame(quiet), "what those wrote who will not write it again");
        ({ pid } = await restarted(folder));
        for (const user of users) {
          await waitUntil(() => user.said("resumed") === round, `resumption ${round} of ${user.jid}`);
        }
        isBreaking = false;
      }
    } finally {
      clearInterval(exchange);
    }
    await waitUntil(() => allCame(users), "the last messages of all users");
    await waitUntil(() => users.every(({ got, to }) => got.includes(`m${to}`)), "the last messages to all users");
  });

  after(async function () {
    this.timeout(60_000);
    await Promise.all(users.map((user) => user.end()));
    contact?.destroy();
    if (pid !== undefined) {
      process.kill(pid, "SIGTERM");
      await ended(pid);
    }
    await server?.process.stop();
  });

  for (const kind of KINDS) {
    describe(kind.name, () => {
      let user: User;

      before(function () {
        const found = users.find((one) => one.kind === kind);
        if (found === undefined) skip(this, `${kind.name} is not installed (${kind.probe?.hint})`);
        user = found;
      });

      it("resumes in each successor and binds its resource once", () => {
        assert.equal(user.said("resumed"), ROUNDS);
        assert.equal(user.said(`online ${user.jid}/lib`), 1);
        assert.equal(user.said("failed"), 0);
      });

      it("gets every message once", () => {
        assert.deepEqual(user.got, numbered("m", user.to));
      });

      it("has every message that it sent arrive once", () => {
        const { username } = kind;
        const came = bodiesOf(contact).filter((body) => body.startsWith(username));
        const inOrder = came.sort(
          (one, other) => Number(one.slice(username.length)) - Number(other.slice(username.length)),
        );
        assert.deepEqual(inOrder, numbered(username, user.from));
      });

      it("never looks unavailable to its contact", () => {
        const presence = (contact?.received ?? []).filter(
          ({ xml }) => xml.startsWith("<presence") && xml.includes(`from="${user.jid}/lib"`),
        );
        assert.notEqual(presence.length, 0);
        assert.deepEqual(
          presence.filter(({ xml }) => xml.includes("unavailable")),
          [],
        );
      });
    });
  }
});

function child(name: string): string {
  return fileURLToPath(new URL(`../../support/${name}`, import.meta.url));
}

function isInstalled({ probe }: Kind): boolean {
  if (probe === undefined) return true;
  const [file, ...args] = probe.command;
  return spawnSync(file, args).status === 0;
}

function numbered(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${index + 1}`);
}

function bodiesOf(contact: SteadyUser | undefined): string[] {
  return (contact?.received ?? []).flatMap(({ xml }) => /^<message.*<body>([^<]*)<\/body>/.exec(xml)?.[1] ?? []);
}
