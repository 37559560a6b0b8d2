import assert from "node:assert/strict";
import type { Jid } from "../../../src/jid/jid.ts";
import { type AccountsPort, accountEntry, UserAdmin } from "../../../src/operations/user-admin.ts";
import type { RosterItem } from "../../../src/server/rosters.ts";
import { codeOf } from "../../../src/util/errors.ts";

/** Accounts in memory. */
class FakeAccounts implements AccountsPort {
  readonly passwords = new Map<string, string>();
  readonly rosters = new Map<string, readonly RosterItem[]>();

  async exists(account: Jid): Promise<boolean> {
    return this.passwords.has(account.toString());
  }
  async create(account: Jid, password: string): Promise<void> {
    this.passwords.set(account.toString(), password);
  }
  async setPassword(account: Jid, password: string): Promise<void> {
    this.passwords.set(account.toString(), password);
  }
  async remove(account: Jid): Promise<void> {
    this.passwords.delete(account.toString());
  }
  async list(host: string): Promise<readonly string[]> {
    return [...this.passwords.keys()].filter((jid) => jid.endsWith(`@${host}`));
  }
  async any(host: string): Promise<boolean> {
    return (await this.list(host)).length > 0;
  }
  async createMany(accounts: readonly { readonly account: Jid; readonly password: string }[]): Promise<void> {
    for (const { account, password } of accounts) this.passwords.set(account.toString(), password);
  }
  passwordProblem(password: string): string | undefined {
    return password === "bad" ? "this password cannot be used" : undefined;
  }
  async roster(account: Jid): Promise<readonly RosterItem[]> {
    return this.rosters.get(account.toString()) ?? [];
  }

  async putRoster(account: Jid, items: readonly RosterItem[]): Promise<void> {
    this.rosters.set(account.toString(), items);
  }
}

describe("UserAdmin", () => {
  let accounts: FakeAccounts;
  let users: UserAdmin;
  beforeEach(() => {
    accounts = new FakeAccounts();
    users = new UserAdmin({ accounts, hosts: ["a.test", "b.test"] });
  });

  const code = (expected: string) => (thrown: unknown) => codeOf(thrown) === expected;

  it("creates accounts on the hosts served here, once each", async () => {
    await users.add("Romeo@A.test", "p");
    assert.deepEqual([...accounts.passwords], [["romeo@a.test", "p"]]);
    await assert.rejects(users.add("romeo@a.test", "q"), code("MORENDO_ACCOUNT_EXISTS"));
    await assert.rejects(users.add("romeo@c.test", "q"), /c\.test is not served here; the hosts are a\.test, b\.test/);
    assert.deepEqual([...accounts.passwords], [["romeo@a.test", "p"]]);
  });

  it("refuses what is not the name of an account", async () => {
    for (const text of ["", "a.test", "x@a.test/resource", "@a.test"]) {
      await assert.rejects(users.add(text, "p"), code("MORENDO_ACCOUNT_NAME"), text);
    }
  });

  it("refuses passwords that cannot be used", async () => {
    await assert.rejects(users.add("x@a.test", ""), code("MORENDO_PASSWORD_INVALID"));
    await assert.rejects(users.add("x@a.test", "bad"), code("MORENDO_PASSWORD_INVALID"));
    assert.equal(accounts.passwords.size, 0);
  });

  it("changes and removes only accounts that exist", async () => {
    await assert.rejects(users.setPassword("x@a.test", "p"), code("MORENDO_ACCOUNT_UNKNOWN"));
    await assert.rejects(users.remove("x@a.test"), code("MORENDO_ACCOUNT_UNKNOWN"));
    await users.add("x@a.test", "p");
    await users.setPassword("x@a.test", "q");
    assert.equal(accounts.passwords.get("x@a.test"), "q");
    await users.remove("x@a.test");
    assert.equal(accounts.passwords.size, 0);
  });

  it("lists the accounts of all hosts or of one, in order", async () => {
    assert.equal(await users.any(), false);
    for (const jid of ["z@a.test", "b@b.test", "a@a.test"]) await users.add(jid, "p");
    assert.equal(await users.any(), true);
    assert.deepEqual(await users.list(), ["a@a.test", "b@b.test", "z@a.test"]);
    assert.deepEqual(await users.list("B.test"), ["b@b.test"]);
    await assert.rejects(users.list("c.test"), code("MORENDO_NO_HOST"));
  });

  it("imports accounts with their rosters", async () => {
    const entries = [
      { jid: "r@a.test", password: "p", roster: [{ jid: "J@b.test", subscription: "both" }, { jid: "far.test" }] },
      { jid: "j@b.test", password: "q" },
    ].map((entry) => accountEntry.parse(entry));
    assert.equal(await users.import(entries), 2);
    assert.deepEqual(accounts.rosters.get("r@a.test"), [
      { jid: "j@b.test", groups: [], subscription: "both" },
      { jid: "far.test", groups: [], subscription: "none" },
    ]);
    assert.equal(accounts.passwords.size, 2);
  });

  it("changes nothing when one of the entries is bad, and says which", async () => {
    await users.add("old@a.test", "p");
    const entries = [
      { jid: "new@a.test", password: "p" },
      { jid: "old@a.test", password: "q" },
      { jid: "x@c.test", password: "p" },
      { jid: "y@a.test", password: "bad" },
      { jid: "z@a.test", password: "p", roster: [{ jid: "z@b.test/res" }] },
    ].map((entry) => accountEntry.parse(entry));
    const problems = await users.check(entries);
    assert.deepEqual(
      problems.map(({ index }) => index),
      [1, 2, 3, 4],
    );
    await assert.rejects(users.import(entries), /entry 2: old@a\.test exists already/);
    assert.deepEqual([...accounts.passwords], [["old@a.test", "p"]]);
  });
});
