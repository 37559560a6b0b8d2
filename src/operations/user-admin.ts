// What an operator does with accounts, by JID as text: the one implementation behind `morendo user`, with the server
// stopped (over the opened store) or running (over the control socket). Checks everything before it changes anything.

import { z } from "zod";
import { Jid } from "../jid/jid.ts";
import type { RosterItem } from "../server/rosters.ts";
import { MorendoError } from "../util/errors.ts";

const rosterEntry = z.strictObject({
  jid: z.string(),
  name: z.string().optional(),
  groups: z.array(z.string()).default([]),
  subscription: z.enum(["none", "to", "from", "both"]).default("none"),
});

/** An account as `morendo user import` reads it, one JSON object per line. */
export const accountEntry = z.strictObject({
  jid: z.string(),
  password: z.string().min(1, "expected a password of at least one character"),
  roster: z.array(rosterEntry).optional(),
});

export type AccountEntry = z.output<typeof accountEntry>;

/** What is wrong with one of several entries. */
export interface EntryProblem {
  /** The entry's position, from 0. */
  readonly index: number;
  readonly message: string;
}

/** The part of the server's accounts that administration needs. */
export interface AccountsPort {
  exists(account: Jid): Promise<boolean>;
  /** Rejects with a code when the password cannot be used (RFC 4013) or the account exists. */
  create(account: Jid, password: string): Promise<void>;
  setPassword(account: Jid, password: string): Promise<void>;
  remove(account: Jid): Promise<void>;
  list(host: string): Promise<readonly string[]>;
  any(host: string): Promise<boolean>;
  /** Creates many accounts at once; resolves when all are on disk. */
  createMany(accounts: readonly { readonly account: Jid; readonly password: string }[]): Promise<void>;
  /** Says why a password cannot be used, or undefined. */
  passwordProblem(password: string): string | undefined;
  /** Returns the account's roster, with items that clients are not shown. */
  roster(account: Jid): Promise<readonly RosterItem[]>;
  /** Stores roster items; resolves when they are on disk. */
  putRoster(account: Jid, items: readonly RosterItem[]): Promise<void>;
}

/** Administration of accounts. Every method rejects with a MorendoError whose message names the account. */
export class UserAdmin {
  #accounts: AccountsPort;
  #hosts: readonly string[];

  constructor({ accounts, hosts }: { readonly accounts: AccountsPort; readonly hosts: readonly string[] }) {
    this.#accounts = accounts;
    this.#hosts = hosts;
  }

  /** Creates an account. Rejects with `MORENDO_ACCOUNT_EXISTS` when it is there already. */
  async add(text: string, password: string): Promise<void> {
    const account = this.#parse(text);
    this.#checkPassword(password);
    if (await this.#accounts.exists(account)) {
      throw new MorendoError(
        "MORENDO_ACCOUNT_EXISTS",
        `${account.toString()} exists already; \`user passwd\` changes its password`,
      );
    }
    await this.#accounts.create(account, password);
  }

  /** Changes the password. Rejects with `MORENDO_ACCOUNT_UNKNOWN` when there is no such account. */
  async setPassword(text: string, password: string): Promise<void> {
    const account = await this.#existing(text);
    this.#checkPassword(password);
    await this.#accounts.setPassword(account, password);
  }

  /** Removes the account with everything that is stored for it. */
  async remove(text: string): Promise<void> {
    await this.#accounts.remove(await this.#existing(text));
  }

  /** Returns the contacts on the account's roster, as its owner sees it, in order. */
  async roster(text: string): Promise<readonly RosterItem[]> {
    const items = await this.#accounts.roster(await this.#existing(text));
    return items.filter(({ hidden }) => hidden !== true).toSorted((one, other) => (one.jid < other.jid ? -1 : 1));
  }

  /** Returns the JIDs of all accounts, or of those on one host, in order. */
  async list(host?: string): Promise<readonly string[]> {
    const hosts = host === undefined ? this.#hosts : [this.#host(host)];
    const lists = await Promise.all(hosts.map((name) => this.#accounts.list(name)));
    return lists.flat().sort();
  }

  /** Tells whether there is any account on any host. */
  async any(): Promise<boolean> {
    for (const host of this.#hosts) {
      if (await this.#accounts.any(host)) return true;
    }
    return false;
  }

  /** Returns what is wrong with `entries`, each by itself and among the accounts that exist. Changes nothing. */
  async check(entries: readonly AccountEntry[]): Promise<readonly EntryProblem[]> {
    const problems = await Promise.all(entries.map((entry) => this.#problemOf(entry)));
    return problems.flatMap((message, index) => (message === undefined ? [] : [{ index, message }]));
  }

  /** Creates accounts with their rosters; resolves when all is on disk. Rejects before any change when an entry is bad. */
  async import(entries: readonly AccountEntry[]): Promise<number> {
    const [problem] = await this.check(entries);
    if (problem !== undefined) {
      throw new MorendoError("MORENDO_ACCOUNT_NAME", `entry ${problem.index + 1}: ${problem.message}`);
    }
    const accounts = entries.map((entry) => ({ account: this.#parse(entry.jid), password: entry.password, entry }));
    await this.#accounts.createMany(accounts);
    const withRoster = accounts.filter(({ entry }) => entry.roster !== undefined && entry.roster.length > 0);
    await Promise.all(
      withRoster.map(({ account, entry }) => this.#accounts.putRoster(account, (entry.roster ?? []).map(rosterItem))),
    );
    return entries.length;
  }

  async #problemOf(entry: AccountEntry): Promise<string | undefined> {
    const account = this.#read(entry.jid);
    if (typeof account === "string") return account;
    const password = this.#accounts.passwordProblem(entry.password);
    if (password !== undefined) return `${account.toString()}: ${password}`;
    for (const item of entry.roster ?? []) {
      if (readContact(item.jid) === undefined)
        return `${account.toString()}: roster: ${JSON.stringify(item.jid)} is not a bare JID`;
    }
    return (await this.#accounts.exists(account)) ? `${account.toString()} exists already` : undefined;
  }

  async #existing(text: string): Promise<Jid> {
    const account = this.#parse(text);
    if (await this.#accounts.exists(account)) return account;
    throw new MorendoError("MORENDO_ACCOUNT_UNKNOWN", `there is no account ${account.toString()}`);
  }

  #checkPassword(password: string): void {
    const problem = password === "" ? "the password is empty" : this.#accounts.passwordProblem(password);
    if (problem !== undefined) throw new MorendoError("MORENDO_PASSWORD_INVALID", problem);
  }

  #parse(text: string): Jid {
    const account = this.#read(text);
    if (typeof account === "string") throw new MorendoError("MORENDO_ACCOUNT_NAME", account);
    return account;
  }

  /** Returns the account `text` names, or what is wrong with it. */
  #read(text: string): Jid | string {
    const jid = Jid.parse(text);
    if (jid === undefined || jid.local === "" || jid.resource !== "") {
      return `${JSON.stringify(text)} is not an account; expected name@host`;
    }
    if (this.#hosts.includes(jid.domain)) return jid;
    return `${jid.toString()}: ${jid.domain} is not served here; the hosts are ${this.#hosts.join(", ")}`;
  }

  #host(text: string): string {
    const host = Jid.parse(text)?.domain;
    if (host !== undefined && this.#hosts.includes(host)) return host;
    throw new MorendoError("MORENDO_NO_HOST", `${text} is not served here; the hosts are ${this.#hosts.join(", ")}`);
  }
}

function readContact(text: string): string | undefined {
  const jid = Jid.parse(text);
  return jid === undefined || jid.resource !== "" ? undefined : jid.toString();
}

function rosterItem(item: z.output<typeof rosterEntry>): RosterItem {
  return {
    jid: readContact(item.jid) ?? item.jid,
    groups: item.groups,
    subscription: item.subscription,
    ...(item.name === undefined ? {} : { name: item.name }),
  };
}
