// What an ad-hoc command (XEP-0050) is to the module that offers it, whatever module speaks the protocol. A command leads
// from stage to stage, each a form with what is to happen when it is filled in, to a result.

import type { Jid } from "../jid/jid.ts";
import type { DataForm, FormValues } from "../stanza/data-form.ts";
import { StanzaError } from "../stanza/stanza-error.ts";
import type { Element } from "../xml/element.ts";
import type { Faults } from "./module-faults.ts";

/** A remark that is shown with a stage or a result. A command that completes without success has one of the type `error`. */
export interface CommandNote {
  readonly type: "info" | "warn" | "error";
  readonly text: string;
}

/** A form to be filled in. */
export interface CommandStage {
  readonly form: DataForm;
  readonly notes?: readonly CommandNote[];
  /** Whether another form follows when this one is filled in: clients then show "next" instead of "finish". */
  readonly hasNext?: boolean;
  /** Whether the user may go back from here to the stage before; true unless given. It is asked there again. */
  readonly hasPrevious?: boolean;
  /**
   * The form was filled in as it describes. An error leaves the command at this stage, so that the user can try again;
   * after a promise the user's stream goes on meanwhile.
   */
  submit(values: FormValues): CommandAnswer | Promise<CommandAnswer>;
}

/** The end of a command. */
export interface CommandResult {
  readonly notes?: readonly CommandNote[];
  /** What it has to show, such as a `resultElement`. */
  readonly payload?: readonly Element[];
  /**
   * Called once the answer has been handed over: for what ends, or stops, the very stream that it goes by. What it throws or
   * rejects with is logged.
   */
  afterwards?(): void | Promise<void>;
}

/** What a command answers: the next form, its end, or an error. */
export type CommandAnswer = CommandStage | CommandResult | StanzaError;

/** Who begins a command. */
export interface CommandRequest {
  /** The full JID; of another server's user perhaps. */
  readonly asker: Jid;
  /** The host that was asked. */
  readonly host: Jid;
}

/** A command that the hosts of this server offer. */
export interface AdHocCommand {
  /** What it goes by: a URI, or a name within a namespace of your own. Of two commands with one node only one can be there. */
  readonly node: string;
  /** What people are shown. */
  readonly name: string;
  /**
   * Tells whether somebody may see and use it: asked for each list and at each step. `who` is a full JID, of anybody
   * anywhere who has been authenticated by their server.
   */
  allowed(who: Jid): boolean;
  /** Begins it: each time anew. What it rejects with is logged, and told to nobody. */
  start(request: CommandRequest): CommandAnswer | Promise<CommandAnswer>;
}

const BROKEN = new StanzaError("internal-server-error");

/** Returns the command as others may call it: what it throws is its module's fault, and an error for the asker. */
export function guardedCommand(command: AdHocCommand, faults: Faults): AdHocCommand {
  const { node, name } = command;
  const what = `command "${node}"`;
  const broken = (thrown: unknown): StanzaError => {
    faults.failed(what, thrown);
    return BROKEN;
  };
  const guarded = (work: () => CommandAnswer | Promise<CommandAnswer>): CommandAnswer | Promise<CommandAnswer> => {
    try {
      const answer = work();
      return answer instanceof Promise ? answer.then(guardedAnswer).catch(broken) : guardedAnswer(answer);
    } catch (thrown) {
      return broken(thrown);
    }
  };
  const guardedAnswer = (answer: CommandAnswer): CommandAnswer => {
    if ("submit" in answer) return { ...answer, submit: (values) => guarded(() => answer.submit(values)) };
    if (!("afterwards" in answer)) return answer;
    const afterwards = async (): Promise<void> => {
      try {
        await answer.afterwards?.();
      } catch (thrown) {
        faults.failed(what, thrown);
      }
    };
    return { ...answer, afterwards };
  };
  return {
    node,
    name,
    allowed: (who) => {
      try {
        return command.allowed(who) === true;
      } catch (thrown) {
        faults.failed(what, thrown);
        return false;
      }
    },
    start: (request) => guarded(() => command.start(request)),
  };
}
