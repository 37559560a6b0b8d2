// An administrator at a client library that is not ours, for tests that drive ad-hoc commands as people do.

import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { PYTHON, slixmppMissing } from "./slixmpp.ts";
import { waitUntil } from "./wire.ts";

const NODE_CHILD = fileURLToPath(new URL("admin-library-child.mjs", import.meta.url));
const PYTHON_CHILD = fileURLToPath(new URL("admin-library-child.py", import.meta.url));

/** The libraries. */
export type LibraryName = "@xmpp/client" | "slixmpp";

/** What the library says: an answer, or how it stands with the connection. */
export interface Said {
  readonly online?: string;
  /** The stream error with which the connection ended; null for none. */
  readonly over?: string | null;
  readonly commands?: readonly string[];
  readonly status?: string;
  readonly notes?: readonly (readonly [type: string, text: string])[];
  readonly values?: Readonly<Record<string, unknown>>;
  readonly error?: string;
  readonly text?: string;
  readonly message?: string;
}

/** What it is told to do. */
export type Order =
  | { readonly list: true }
  | { readonly command: string; readonly values?: Readonly<Record<string, unknown>> }
  | { readonly node: string; readonly values?: Readonly<Record<string, unknown>> };

/** Where and as whom it logs in. */
export interface AdminLibraryOptions {
  readonly host: string;
  readonly port: number;
  readonly domain: string;
  readonly username: string;
  readonly password: string;
  /** The file with the certificate that the server shows. */
  readonly certificate: string;
}

/** A logged-in administrator. */
export class AdminLibrary {
  /** Everything it said, in order. */
  readonly said: Said[] = [];
  #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
    if (child.stdout === null) throw new Error("no output");
    createInterface({ input: child.stdout }).on("line", (line) => this.said.push(JSON.parse(line) as Said));
  }

  /** Why it cannot be used on this machine, if so. */
  static missing(name: LibraryName): string | undefined {
    return name === "@xmpp/client" ? undefined : slixmppMissing();
  }

  /** Resolves when it is online. */
  static async start(name: LibraryName, options: AdminLibraryOptions): Promise<AdminLibrary> {
    const { host, port, domain, username, password, certificate } = options;
    const args = [host, String(port), domain, username, password];
    const child =
      name === "slixmpp"
        ? spawn(PYTHON[0], [...PYTHON.slice(1), PYTHON_CHILD, ...args, certificate], {
            stdio: ["pipe", "pipe", "ignore"],
          })
        : spawn(process.execPath, [NODE_CHILD, ...args], {
            env: { ...process.env, NODE_EXTRA_CA_CERTS: certificate },
            stdio: ["pipe", "pipe", "inherit"],
          });
    const library = new AdminLibrary(child);
    await library.next((said) => said.online !== undefined);
    return library;
  }

  /** Gives an order and resolves with the answer to it. */
  async order(order: Order): Promise<Said> {
    const since = this.said.length;
    this.#child.stdin?.write(`${JSON.stringify(order)}\n`);
    const isAnswer = ({ status, error, commands }: Said): boolean =>
      status !== undefined || error !== undefined || commands !== undefined;
    return await this.next(isAnswer, since);
  }

  /** Resolves with the first thing said that matches, from number `since` on. */
  async next(matches: (said: Said) => boolean, since = 0): Promise<Said> {
    const find = (): Said | undefined => this.said.slice(since).find(matches);
    await waitUntil(() => find() !== undefined, `the library to say something else than ${JSON.stringify(this.said)}`);
    return find() ?? {};
  }

  stop(): void {
    this.#child.kill();
  }
}
