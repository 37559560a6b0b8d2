// Joins the server's accounts and rosters into what account administration needs of them.

import type { Accounts } from "../server/accounts.ts";
import type { StoredRosters } from "../server/rosters.ts";
import type { AccountsPort } from "./user-admin.ts";

/** Where accounts are kept. */
export interface AccountsHome {
  readonly accounts: Accounts;
  readonly rosters: StoredRosters;
}

/** Returns the port; `home` is asked at each call, because a server has its accounts only once it has started. */
export function accountsPort(home: () => AccountsHome): AccountsPort {
  return {
    exists: async (account) => await home().accounts.exists(account.local, account.domain),
    create: (account, password) => home().accounts.create(account, password),
    setPassword: (account, password) => home().accounts.setPassword(account, password),
    remove: (account) => home().accounts.remove(account),
    createMany: (accounts) => home().accounts.createMany(accounts),
    passwordProblem: (password) => home().accounts.passwordProblem(password),
    roster: async (account) => [...(await home().rosters.load(account)).items.values()],
    putRoster: (account, items) => home().rosters.importItems(account, items),
    async list(host) {
      const found: string[] = [];
      for await (const account of home().accounts.list(host)) found.push(account.toString());
      return found;
    },
    async any(host) {
      for await (const _ of home().accounts.list(host)) return true;
      return false;
    },
  };
}
