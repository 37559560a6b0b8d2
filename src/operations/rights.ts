// Who may ask for which operations by XMPP: the configuration's section [admin]. The control socket needs no rights beyond
// those to open it; the tokens of the HTTP side have their own list.

import type { Config } from "../config/schema.ts";
import { Jid } from "../jid/jid.ts";

/** The rights of accounts. */
export class Rights {
  #all = new Set<string>();
  #some = new Map<string, ReadonlySet<string>>();

  constructor(config: Config["admin"]) {
    this.replace(config);
  }

  /** Other rights from now on. */
  replace({ accounts, allow }: Config["admin"]): void {
    this.#all.clear();
    this.#some.clear();
    for (const account of accounts) this.#all.add(prepared(account));
    for (const [account, operations] of Object.entries(allow)) this.#some.set(prepared(account), new Set(operations));
  }

  /** Tells whether the account, or the account of the full JID, may do `operation`. */
  may(who: Jid, operation: string): boolean {
    const account = who.bare.toString();
    return this.#all.has(account) || this.#some.get(account)?.has(operation) === true;
  }

  /** Tells whether the account may do everything. */
  isAdmin(who: Jid): boolean {
    return this.#all.has(who.bare.toString());
  }
}

function prepared(account: string): string {
  return Jid.parse(account)?.toString() ?? account;
}
