// The accounts of a server that does not run: opens its store for the length of one command.

import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "../config/schema.ts";
import { UserAdmin } from "../control/user-admin.ts";
import { Accounts } from "../server/accounts.ts";
import { StoredRosters } from "../server/rosters.ts";
import { LmdbStore } from "../store/lmdb.ts";
import { accountsPort } from "./accounts-port.ts";
import { makeDataFolder } from "./first-run.ts";
import type { Io } from "./io.ts";

/** Accounts and how to let go of them. */
export interface OpenedUsers {
  readonly users: UserAdmin;
  close(): Promise<void>;
}

const nothing = (): void => undefined;

/** Opens the store of the configured data folder, making it when it is not there. */
export async function openUsers(config: Config, { clock, random }: Pick<Io, "clock" | "random">): Promise<OpenedUsers> {
  if (!existsSync(config.data)) await makeDataFolder(config.data);
  const store = await LmdbStore.open({ path: join(config.data, "store"), clock });
  // Nobody is connected: nobody has to be told of changes.
  const accounts = new Accounts({ store, random, iterations: config.auth.iterations, removed: nothing });
  const rosters = new StoredRosters({ store, random, changed: nothing });
  const users = new UserAdmin({
    accounts: accountsPort(() => ({ accounts, rosters })),
    hosts: config.hosts.map(({ name }) => name),
  });
  return { users, close: () => store.close() };
}
