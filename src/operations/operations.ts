// The one way in for whoever wants the server to do or tell something: the control socket, HTTP, ad-hoc commands. Checks
// the name and the right, and keeps a log of attempts. What an operation does stands in table.ts.

import { OPERATION_NAMES, type OperationName } from "../config/operation-names.ts";
import type { Jid } from "../jid/jid.ts";
import type { ModuleOperations } from "../server/module-api.ts";
import type { Logger } from "../util/log.ts";
import { type Call, type Caller, failed, type Operation, type Outcome } from "./operation.ts";
import type { Rights } from "./rights.ts";
import type { OperationTable } from "./table.ts";

/** An account is told of the outcome only; it may go away meanwhile. */
const NEVER = new AbortController().signal;

/** What the operations need. */
export interface OperationsOptions {
  /** Asked at the first operation: what the table works on may need these operations itself. */
  readonly table: () => OperationTable;
  readonly log: Logger;
}

/** Performs operations. */
export class Operations {
  #table: OperationTable | undefined;
  #makeTable: () => OperationTable;
  #log: Logger;

  constructor({ table, log }: OperationsOptions) {
    this.#makeTable = table;
    this.#log = log;
  }

  /** Returns the operations that `caller` has a right to. */
  allowed(caller: Caller): ReadonlySet<OperationName> {
    return new Set(OPERATION_NAMES.filter((name) => caller.may(name)));
  }

  /**
   * Performs an operation. Never rejects; an operation is not begun when the outcome's code is `MORENDO_UNKNOWN_ACTION`,
   * `MORENDO_NOT_ALLOWED` or `MORENDO_BAD_ARGUMENTS`. Each attempt is logged, those that only read as debug.
   */
  async perform(name: string, args: unknown, call: Call): Promise<Outcome> {
    const { trigger, who } = call.caller;
    const outcome = await this.#perform(name, args, call);
    const fields = { operation: name.slice(0, 100), trigger, ...(who === undefined ? {} : { who }) };
    if (!outcome.ok) this.#log.warn({ ...fields, ...outcome.error }, "an operation was not done");
    else if (isKnown(name) && this.#operation(name).isRead) this.#log.debug(fields, "an operation was done");
    else this.#log.info(fields, "an operation was done");
    return outcome;
  }

  /** Returns the operations as modules have them, for accounts with `rights`. */
  forModules(rights: Pick<Rights, "may">): ModuleOperations {
    const callerFor = (who: Jid): Caller => ({
      trigger: "ad-hoc command",
      who: who.bare.toString(),
      may: (operation) => rights.may(who, operation),
    });
    return {
      allowed: (who) => this.allowed(callerFor(who)),
      perform: (who, name, args) =>
        this.perform(name, args, { caller: callerFor(who), emit: () => undefined, signal: NEVER }),
    };
  }

  async #perform(name: string, args: unknown, call: Call): Promise<Outcome> {
    if (!isKnown(name)) {
      const known = [...this.allowed(call.caller)].join(", ");
      const named = JSON.stringify(name.slice(0, 100));
      return failed("MORENDO_UNKNOWN_ACTION", `there is no action ${named}; known are ${known}`);
    }
    if (!call.caller.may(name)) return failed("MORENDO_NOT_ALLOWED", `no right to ${name}`);
    return await this.#operation(name).run(args, call);
  }

  #operation(name: OperationName): Operation {
    this.#table ??= this.#makeTable();
    return this.#table[name];
  }
}

function isKnown(name: string): name is OperationName {
  return (OPERATION_NAMES as readonly string[]).includes(name);
}
