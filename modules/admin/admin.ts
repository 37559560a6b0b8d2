// Somebody who administers the server by a command: asks for operations in their name, and turns what comes back into what
// XEP-0133 answers.

import {
  type CommandAnswer,
  type CommandNote,
  type CommandResult,
  type DataForm,
  type ErrorCondition,
  type FormField,
  type FormValues,
  type Jid,
  type LifecycleState,
  type ModuleApi,
  resultElement,
  Stanza,
  StanzaError,
  xml,
} from "../../src/module.ts";
import { NS } from "../../src/xml/ns.ts";

/** The nodes of commands that XEP-0133 does not know, and the FORM_TYPE of their forms. */
const OWN = "urn:morendo:admin";

/** A command for operators. */
export interface AdminCommand {
  readonly node: string;
  readonly name: string;
  /** The operations that it asks for. */
  readonly needs: readonly string[];
  /** What is to be filled in first; without one it is done at once. */
  readonly form?: DataForm;
  run(admin: Admin, values: FormValues): CommandAnswer | Promise<CommandAnswer>;
}

/** Returns the node and the FORM_TYPE of a command of XEP-0133. */
export function standard(name: string): string {
  return `${NS.admin}#${name}`;
}

/** Returns the node of a command of Morendo's own. */
export function own(name: string): string {
  return `${OWN}#${name}`;
}

/** A form of XEP-0133. */
export function standardForm(title: string, fields: readonly FormField[]): DataForm {
  return { formType: NS.admin, title, instructions: "Fill in this form.", fields };
}

/** A form of Morendo's own. */
export function ownForm(title: string, fields: readonly FormField[]): DataForm {
  return { formType: OWN, title, instructions: "Fill in this form.", fields };
}

/** A command that has done what it was to do, with fields to show in a form of XEP-0133. */
export function completed(fields: readonly FormField[], notes: readonly CommandNote[] = []): CommandResult {
  return { payload: [resultElement({ formType: NS.admin, fields })], notes };
}

/** The same in a form of Morendo's own. */
export function completedOwn(fields: readonly FormField[], notes: readonly CommandNote[] = []): CommandResult {
  return { payload: [resultElement({ formType: OWN, fields })], notes };
}

/** A command that has done what it was to do, in words. */
export function done(text: string): CommandResult {
  return { notes: [{ type: "info", text }] };
}

/** What codes of operations are to the asker; others are errors of the server. */
const CONDITIONS: Readonly<Record<string, ErrorCondition>> = {
  MORENDO_NOT_ALLOWED: "forbidden",
  MORENDO_UNKNOWN_ACTION: "feature-not-implemented",
  MORENDO_ACCOUNT_EXISTS: "conflict",
  MORENDO_ACCOUNT_UNKNOWN: "item-not-found",
  MORENDO_SESSION_UNKNOWN: "item-not-found",
  MORENDO_STOPPING: "unexpected-request",
  MORENDO_CONFIG_INVALID: "not-acceptable",
};

/** What is wrong with what was filled in (XEP-0050 §4). */
const BAD_VALUES: ReadonlySet<string> = new Set([
  "MORENDO_BAD_ARGUMENTS",
  "MORENDO_ACCOUNT_NAME",
  "MORENDO_NO_HOST",
  "MORENDO_PASSWORD_INVALID",
]);

/** Returns the error for values that a form's types cannot tell to be wrong. */
export function badValues(text: string): StanzaError {
  return new StanzaError("bad-request", text, undefined, { name: "bad-payload", namespace: NS.commands });
}

/** Somebody who has begun a command. */
export class Admin {
  readonly jid: Jid;
  /** The host that was asked. */
  readonly host: Jid;
  #api: ModuleApi;

  constructor(api: ModuleApi, jid: Jid, host: Jid) {
    this.#api = api;
    this.jid = jid;
    this.host = host;
  }

  /** Where the server is in its life. */
  get state(): LifecycleState {
    return this.#api.state;
  }

  /** Asks for an operation; resolves to its result, or to the error for the asker. */
  async ask(operation: string, args: object = {}): Promise<unknown> {
    const outcome = await this.#api.operations.perform(this.jid, operation, args);
    if (outcome.ok) return outcome.result;
    const { code, message } = outcome.error;
    if (BAD_VALUES.has(code)) return badValues(message);
    return new StanzaError(CONDITIONS[code] ?? "internal-server-error", message);
  }

  /**
   * Asks for something once for each of `jids`. When not one can be done the answer is the first one's error; otherwise it
   * says what became of the others.
   */
  async askForEach(
    jids: readonly Jid[],
    operation: string,
    { one, many }: { readonly one: string; readonly many: string },
  ): Promise<CommandAnswer> {
    const errors: [Jid, StanzaError][] = [];
    for (const jid of jids) {
      const result = await this.ask(operation, { jid: jid.toString() });
      if (result instanceof StanzaError) errors.push([jid, result]);
    }
    const [first] = errors;
    const count = jids.length - errors.length;
    if (first !== undefined && count === 0) return first[1];
    const notes = errors.map(([jid, { condition, text = condition }]): CommandNote => {
      return { type: "error", text: `${jid.toString()}: ${text}` };
    });
    return { notes: [{ type: "info", text: count === 1 ? one : `${count} ${many}` }, ...notes] };
  }

  /** Resolves to the result of `work` if it is there by the next turn of the event loop, and else to undefined. */
  async soon(work: Promise<unknown>): Promise<unknown> {
    return await Promise.race([work, this.#api.clock.turn()]);
  }

  /** Sends the asker a message when the command is over already. */
  tell(text: string): void {
    const id = this.#api.random.id();
    const attrs = { from: this.host.toString(), to: this.jid.toString(), id, type: "normal" };
    const message = new Stanza(xml("message", attrs, xml("body", {}, text)), this.host, this.jid);
    void this.#api.route(message);
  }
}
