// The accounts of a server that does not run: opens its store for the length of one command.

import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "../config/schema.ts";
import { DataLock } from "../control/data-lock.ts";
import type { Jid } from "../jid/jid.ts";
import { accountsPort } from "../operations/accounts-port.ts";
import { UserAdmin } from "../operations/user-admin.ts";
import { Accounts } from "../server/accounts.ts";
import { StoredRosters } from "../server/rosters.ts";
import { LmdbStore } from "../store/lmdb.ts";
import type { Store } from "../store/store.ts";
import { silentLog } from "../util/log.ts";
import { makeDataFolder } from "./first-run.ts";
import type { Io } from "./io.ts";

/** Accounts and how to let go of them. */
export interface OpenedUsers {
  readonly users: UserAdmin;
  close(): Promise<void>;
}

/** Opens the store of the configured data folder, making it when it is not there. */
export async function openUsers(config: Config, { clock, random }: Pick<Io, "clock" | "random">): Promise<OpenedUsers> {
  if (!existsSync(config.data)) await makeDataFolder(config.data);
  // A server that listens on another control socket must not be bypassed.
  const lock = await DataLock.take({ data: config.data, clock, random, log: silentLog });
  let store: LmdbStore;
  try {
    store = await LmdbStore.open({ path: join(config.data, "store"), clock });
  } catch (thrown) {
    await lock?.release();
    throw thrown;
  }
  // Nobody is connected: nobody has to be told of changes.
  const rosters = new StoredRosters({ store, random, changed: () => undefined });
  const accounts = new Accounts({
    store,
    random,
    iterations: config.auth.iterations,
    removed: async (account) => {
      await rosters.removeAll(account);
      await forgetInModules(store, config.modules, account);
    },
  });
  const users = new UserAdmin({
    accounts: accountsPort(() => ({ accounts, rosters })),
    hosts: config.hosts.map(({ name }) => name),
  });
  return {
    users,
    close: async () => {
      await store.close();
      await lock?.release();
    },
  };
}

const SLICE = 1_000;

/**
 * Removes what modules keep for an account. They are not loaded, so this goes by their convention: what belongs to an
 * account stands under its bare JID, the first part of the key.
 */
async function forgetInModules(store: Store, modules: readonly string[], account: Jid): Promise<void> {
  for (const module of modules) {
    const collection = `module:${module}`;
    for (;;) {
      const entries = await store.range(collection, [account.toString()], SLICE);
      await store.batch(entries.map(([key]) => ({ op: "delete", collection, key })));
      if (entries.length < SLICE) break;
    }
  }
  await store.flushed();
}
