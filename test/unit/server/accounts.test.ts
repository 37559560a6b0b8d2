import { deepEqual, equal, notEqual, ok, rejects } from "node:assert/strict";
import { Jid } from "../../../src/jid/jid.ts";
import { createMechanism } from "../../../src/sasl/mechanisms.ts";
import { deriveKeys } from "../../../src/sasl/scram-keys.ts";
import { Accounts, type AccountsOptions } from "../../../src/server/accounts.ts";
import { MemoryStore } from "../../../src/store/memory.ts";
import { systemRandom } from "../../../src/util/random.ts";

const romeo = Jid.of("romeo", "a.example");
const juliet = Jid.of("juliet", "a.example");

function accountsOver(store: MemoryStore, options: Partial<AccountsOptions> = {}): Accounts {
  return new Accounts({ store, random: systemRandom, iterations: 4096, ...options });
}

async function namesOf(accounts: Accounts, domain?: string): Promise<readonly string[]> {
  const names: string[] = [];
  for await (const account of accounts.list(domain)) names.push(account.toString());
  return names;
}

async function logsIn(accounts: Accounts, name: string, password: string): Promise<boolean> {
  const plain = createMechanism("PLAIN", {
    host: "a.example",
    credentials: accounts,
    random: systemRandom,
    channelBinding: undefined,
    offered: ["PLAIN"],
  });
  return (await plain.step(Buffer.from(`\0${name}\0${password}`))).kind === "success";
}

describe("an account", () => {
  let store: MemoryStore;
  let accounts: Accounts;
  beforeEach(() => {
    store = new MemoryStore();
    accounts = accountsOver(store);
  });

  it("exists once it was created, and then its password logs in", async () => {
    equal(await accounts.exists("romeo", "a.example"), false);
    await accounts.create(romeo, "but soft");
    equal(accounts.exists("romeo", "a.example"), true, "at once, without a promise");
    equal(await accounts.exists("romeo", "b.example"), false);
    ok(await logsIn(accounts, "Romeo", "but soft"));
    ok(!(await logsIn(accounts, "romeo", "but hard")));
    ok(!(await logsIn(accounts, "juliet", "but soft")));
  });

  it("is on disk when it was created", async () => {
    await accounts.create(romeo, "but soft");
    const after = accountsOver(store.afterCrash());
    equal(await after.exists("romeo", "a.example"), true);
    equal(after.exists("romeo", "a.example"), true, "and then known");
    ok(await logsIn(after, "romeo", "but soft"));
  });

  it("is stored without its password", async () => {
    await accounts.create(romeo, "but soft");
    const text = JSON.stringify(await store.range("accounts", []));
    ok(!text.includes("but soft"));
    ok(!text.includes(Buffer.from("but soft").toString("base64")));
  });

  it("has keys for both hashes that are those of the password", async () => {
    await accounts.create(romeo, "I\u00ADX");
    for (const hash of ["SHA-1", "SHA-256"] as const) {
      const found = await accounts.credentials("romeo", "a.example", hash);
      ok(found?.known);
      deepEqual(found.keys, await deriveKeys(hash, "IX", found.keys));
      equal(found.keys.iterations, 4096);
      equal(found.keys.salt.length, 16);
    }
  });

  it("cannot be created twice, one after the other or at once", async () => {
    await accounts.create(romeo, "one");
    await rejects(accounts.create(romeo, "two"), { code: "MORENDO_ACCOUNT_EXISTS" });
    ok(await logsIn(accounts, "romeo", "one"));
    const both = await Promise.allSettled([accounts.create(juliet, "one"), accounts.create(juliet, "two")]);
    deepEqual(
      both.map(({ status }) => status),
      ["fulfilled", "rejected"],
    );
    ok(await logsIn(accounts, "juliet", "one"));
  });

  it("needs a name and a password that can be used", async () => {
    await rejects(accounts.create(Jid.of("", "a.example"), "x"), { code: "MORENDO_ACCOUNT_NAME" });
    await rejects(accounts.create(romeo.withResource("x"), "x"), { code: "MORENDO_ACCOUNT_NAME" });
    for (const bad of ["", "\u0007", "\u00AD", "x".repeat(2000)]) {
      await rejects(accounts.create(romeo, bad), { code: "MORENDO_PASSWORD_INVALID" });
      ok(accounts.passwordProblem(bad));
    }
    equal(accounts.passwordProblem("pässword"), undefined);
    deepEqual(await namesOf(accounts), []);
  });

  it("can have its password changed, and the old one ends at once", async () => {
    await accounts.create(romeo, "old");
    ok(await logsIn(accounts, "romeo", "old"));
    await accounts.setPassword(romeo, "new");
    ok(!(await logsIn(accounts, "romeo", "old")));
    ok(await logsIn(accounts, "romeo", "new"));
    ok(await logsIn(accountsOver(store.afterCrash()), "romeo", "new"));
    await rejects(accounts.setPassword(juliet, "new"), { code: "MORENDO_ACCOUNT_UNKNOWN" });
    await rejects(accounts.setPassword(romeo, ""), { code: "MORENDO_PASSWORD_INVALID" });
  });

  it("is removed with what its owners know of, and does not exist for them any more", async () => {
    const seen: unknown[] = [];
    accounts = accountsOver(store, {
      removed: async (account) => {
        seen.push(account.toString(), await accounts.exists(account.local, account.domain));
        seen.push(await logsIn(accounts, "romeo", "x"));
      },
    });
    await accounts.create(romeo, "x");
    await accounts.remove(romeo);
    deepEqual(seen, ["romeo@a.example", false, false]);
    equal(await accounts.exists("romeo", "a.example"), false);
    deepEqual(await namesOf(accounts), []);
    await rejects(accounts.remove(romeo), { code: "MORENDO_ACCOUNT_UNKNOWN" });
    await accounts.create(romeo, "y");
    ok(await logsIn(accounts, "romeo", "y"));
  });

  it("is not remembered by a look-up that began before it was removed", async () => {
    await accounts.create(romeo, "x");
    const fresh = accountsOver(store);
    const looking = fresh.exists("romeo", "a.example");
    await Promise.all([looking, fresh.remove(romeo)]);
    equal(await fresh.exists("romeo", "a.example"), false);
  });

  it("whose removal was cut short is gone, and a new one of its name inherits nothing", async () => {
    accounts = accountsOver(store, { removed: () => Promise.reject(new Error("killed")) });
    await accounts.create(romeo, "x");
    await rejects(accounts.remove(romeo), /killed/);
    const cleaned: string[] = [];
    const after = accountsOver(store.afterCrash(), { removed: (account) => void cleaned.push(account.toString()) });
    equal(await after.exists("romeo", "a.example"), false);
    deepEqual(await namesOf(after), []);
    ok(!(await logsIn(after, "romeo", "x")));
    await rejects(after.remove(romeo), { code: "MORENDO_ACCOUNT_UNKNOWN" });
    deepEqual(cleaned, []);
    await after.create(romeo, "y");
    deepEqual(cleaned, ["romeo@a.example"]);
    ok(await logsIn(after, "romeo", "y"));
  });

  it("is not promised before the disk has it", async () => {
    let release = (): void => undefined;
    let asked = (): void => undefined;
    const asking = new Promise<void>((resolve) => {
      asked = resolve;
    });
    store.hooks.beforeFlush = () =>
      new Promise<void>((resolve) => {
        release = resolve;
        asked();
      });
    let created = false;
    const creating = accounts.create(romeo, "x").then(() => {
      created = true;
    });
    await asking;
    await new Promise((resolve) => setImmediate(resolve));
    equal(created, false);
    release();
    await creating;
  });

  it("is not created when the store fails", async () => {
    store.hooks.beforeWrite = () => {
      throw new Error("no room");
    };
    await rejects(accounts.create(romeo, "x"), /no room/);
    store.hooks.beforeWrite = undefined;
    equal(await accounts.exists("romeo", "a.example"), false);
    await accounts.create(romeo, "x");
  });
});

describe("an unknown name", () => {
  it("has the same decoy keys at every try, also after a restart and in another spelling", async () => {
    const store = new MemoryStore();
    const accounts = accountsOver(store);
    const first = await accounts.credentials("nobody", "a.example", "SHA-256");
    ok(first !== undefined && !first.known);
    await store.flushed();
    deepEqual(await accountsOver(store.afterCrash()).credentials("NoBody", "a.example", "SHA-256"), first);
    notEqual((await accounts.credentials("nobody", "b.example", "SHA-256"))?.keys.salt.equals(first.keys.salt), true);
    equal(first.keys.salt.length, 16);
    equal(first.keys.iterations, 4096);
    equal(await accounts.credentials("no body", "a.example", "SHA-256"), undefined);
  });
});

describe("many accounts", () => {
  const many = (count: number): { account: Jid; password: string }[] =>
    Array.from({ length: count }, (_, index) => ({
      account: Jid.of(`user${index}`, "a.example"),
      password: `p${index}`,
    }));

  it("are created in batches with one flush each, and with what belongs to them", async () => {
    const store = new MemoryStore();
    const accounts = accountsOver(store);
    let flushes = 0;
    store.hooks.beforeFlush = () => void flushes++;
    const entries = many(1_200).map((entry) => ({
      ...entry,
      writes: [{ op: "put", collection: "rosters", key: [entry.account.toString()], value: 1 }] as const,
    }));
    await accounts.createMany(entries);
    equal(flushes, 3);
    equal((await namesOf(accounts)).length, 1_200);
    equal((await store.range("rosters", [])).length, 1_200);
    ok(await logsIn(accounts, "user1199", "p1199"));
  }).timeout(120_000);

  it("are not created at all when one of them cannot be", async () => {
    const accounts = accountsOver(new MemoryStore());
    await accounts.create(romeo, "x");
    const bad = [
      { entry: { account: romeo, password: "x" }, code: "MORENDO_ACCOUNT_EXISTS" },
      { entry: { account: juliet, password: "" }, code: "MORENDO_PASSWORD_INVALID" },
      { entry: { account: Jid.of("user1", "a.example"), password: "x" }, code: "MORENDO_ACCOUNT_EXISTS" },
      { entry: { account: Jid.of("", "a.example"), password: "x" }, code: "MORENDO_ACCOUNT_NAME" },
    ];
    for (const { entry, code } of bad) await rejects(accounts.createMany([...many(3), entry]), { code });
    deepEqual(await namesOf(accounts), ["romeo@a.example"]);
    await accounts.createMany([]);
  });

  it("are listed in order, of one domain or of all, beyond one page", async () => {
    const store = new MemoryStore();
    const accounts = accountsOver(store);
    await accounts.create(romeo, "x");
    await accounts.create(Jid.of("anna", "b.example"), "x");
    const [, record] = (await store.range("accounts", []))[0] ?? [];
    ok(record !== undefined);
    const names = Array.from({ length: 2_000 }, (_, index) => `u${10_000 + index}`);
    await store.batch(
      names.map((name) => ({ op: "put", collection: "accounts", key: ["b.example", name], value: record }) as const),
    );
    deepEqual(await namesOf(accounts, "a.example"), ["romeo@a.example"]);
    deepEqual(
      await namesOf(accounts, "b.example"),
      ["anna", ...names].map((name) => `${name}@b.example`),
    );
    equal((await namesOf(accounts)).length, 2_002);
    deepEqual(await namesOf(accounts, "b"), []);
  });
});
