// Ad-Hoc Commands (XEP-0050): lists and runs the commands that modules offer by `api.command`. It speaks the protocol and
// keeps the sessions of commands; what a command does, and who may use it, is its module's business.

import {
  type AdHocCommand,
  type CommandAnswer,
  type CommandStage,
  type DiscoNode,
  defineModule,
  duration,
  type IqAnswer,
  type IqRequest,
  type ModuleApi,
  type NodeQuery,
  z,
} from "../../src/module.ts";
import { readSubmittedForm } from "../../src/stanza/data-form.ts";
import type { Stanza } from "../../src/stanza/stanza.ts";
import { errorReply, resultOf, StanzaError } from "../../src/stanza/stanza-error.ts";
import { type Element, xml } from "../../src/xml/element.ts";
import { NS } from "../../src/xml/ns.ts";
import { type Action, commandElement, commandError, isAction, nextAction } from "./protocol.ts";
import { type CommandSession, CommandSessions } from "./sessions.ts";

const options = z.strictObject({
  /** How many commands may be under way in all. */
  max_sessions: z.int().positive().default(200),
  /** How many of one user; one more takes the place of the oldest. */
  max_sessions_per_user: z.int().positive().default(5),
  /** How long a form may wait to be filled in. */
  session_timeout: duration("10m"),
});

type Options = z.output<typeof options>;

/** The longest that the end of a stop waits for the answers of commands that are at work. */
const ANSWER_LIMIT = "2s";

/** One refusal in this time is logged. */
const REFUSAL_INTERVAL_MS = 1_000;

export default defineModule({
  name: "commands",
  options,
  load(api, options) {
    const commands = new Commands(api, options);
    api.feature(NS.commands);
    api.nodes((query) => nodeOf(api, query));
    api.hook(`iq/set/${NS.commands}`, (request) => commands.answer(request));
    api.on("session/ended", ({ session }) => commands.forget(session.jid.toString()));
    // Whoever asked for the stop has a right to the answer.
    api.phase("close-sessions", { when: "before", timeout: ANSWER_LIMIT, name: "answers" }, () => commands.answered());
  },
});

class Commands {
  #api: ModuleApi;
  #sessions: CommandSessions;
  /** Answers that are not ready yet. */
  #pending = new Set<Promise<void>>();
  /** When a refusal was last logged, and how many were not since. */
  #refused = { at: Number.NEGATIVE_INFINITY, unlogged: 0 };

  constructor(api: ModuleApi, { max_sessions, max_sessions_per_user, session_timeout }: Options) {
    this.#api = api;
    this.#sessions = new CommandSessions({
      clock: api.clock,
      random: api.random,
      max: max_sessions,
      maxPerUser: max_sessions_per_user,
      timeoutMs: session_timeout,
    });
  }

  answer(request: IqRequest): IqAnswer | undefined | Promise<IqAnswer> {
    const { payload, target, stanza } = request;
    if (target !== "host" || !payload.is("command", NS.commands)) return undefined;
    const answer = this.#answer(request);
    if (!(answer instanceof StanzaError)) return answer;
    const sent = this.#refuse(stanza, answer);
    return sent === undefined ? "handled" : sent.then(() => "handled");
  }

  #answer({ payload, asked, stanza }: IqRequest): IqAnswer {
    const { node, sessionid, action = "execute" } = payload.attrs;
    if (node === undefined) return new StanzaError("bad-request", "the command has no node");
    if (!isAction(action)) return commandError("malformed-action");
    const command = this.#api.commands().get(node);
    if (command === undefined) return new StanzaError("item-not-found", "there is no such command");
    if (!command.allowed(stanza.from)) {
      this.#noteRefusal(node, stanza.from.toString());
      return new StanzaError("forbidden");
    }
    if (sessionid !== undefined) return this.#continue(stanza, { command, sessionid, action, payload });
    if (action !== "execute") return commandError("bad-action");
    const session = this.#sessions.begin(command, stanza.from);
    if (session === undefined) return new StanzaError("resource-constraint", "too many commands are under way");
    const begun = command.start({ asker: stanza.from, host: asked });
    return this.#finish(stanza, session, begun);
  }

  /** Ends the commands of a user who has gone. */
  forget(asker: string): void {
    this.#sessions.forget(asker);
  }

  /** Resolves when nobody waits for an answer any more. */
  async answered(): Promise<void> {
    while (this.#pending.size > 0) await Promise.all(this.#pending);
  }

  /** An attempt is on record; a flood of them is counted. */
  #noteRefusal(node: string, who: string): void {
    const now = this.#api.clock.now();
    const { at, unlogged } = this.#refused;
    if (now - at < REFUSAL_INTERVAL_MS) {
      this.#refused.unlogged++;
      return;
    }
    this.#refused = { at: now, unlogged: 0 };
    this.#api.log.warn({ node, who, ...(unlogged === 0 ? {} : { unlogged }) }, "a command was refused: no right to it");
  }

  #continue(stanza: Stanza, { command, sessionid, action, payload }: Continuation): IqAnswer {
    const session = this.#sessions.get(sessionid, stanza.from.toString());
    if (session === "expired") return commandError("session-expired");
    if (session === undefined || session.command.node !== command.node) return commandError("bad-sessionid");
    if (session.isBusy) return new StanzaError("unexpected-request", "the command is at work");
    // The module was loaded anew meanwhile: what the old one had begun is no more.
    if (session.command !== command) {
      this.#sessions.end(session);
      return commandError("session-expired");
    }
    if (action === "cancel") {
      this.#sessions.end(session);
      return commandElement(session, "canceled");
    }
    const stage = session.stages.at(-1);
    if (stage === undefined) return commandError("bad-sessionid");
    if (action === "prev") return this.#goBack(session, stage);
    if (action !== "execute" && action !== nextAction(stage)) return commandError("bad-action");
    const form = payload.getChild("x", NS.dataForms);
    if (form === undefined) return commandError("bad-payload", "the form is missing");
    const values = readSubmittedForm(form, stage.form);
    if (typeof values === "string") return commandError("bad-payload", values);
    return this.#finish(stanza, session, stage.submit(values));
  }

  #goBack(session: CommandSession, stage: CommandStage): IqAnswer {
    if (stage.hasPrevious === false || session.stages.length < 2) return commandError("bad-action");
    session.stages.pop();
    return commandElement(session, "executing");
  }

  /** Returns what the command answers, or sends it later: its user's stream does not wait. */
  #finish(stanza: Stanza, session: CommandSession, answer: CommandAnswer | Promise<CommandAnswer>): IqAnswer {
    if (!(answer instanceof Promise)) return this.#take(session, answer);
    session.isBusy = true;
    const replying = answer
      .then((late) => {
        session.isBusy = false;
        const result = this.#take(session, late);
        return result instanceof StanzaError ? this.#refuse(stanza, result) : this.#api.route(resultOf(stanza, result));
      })
      .catch((thrown: unknown) => this.#api.log.warn({ err: thrown }, "a command's answer could not be sent"))
      .finally(() => this.#pending.delete(replying));
    this.#pending.add(replying);
    return "handled";
  }

  /** Sends an error with the head of the command that it is about: clients find their own session by it. */
  #refuse(stanza: Stanza, error: StanzaError): void | Promise<void> {
    const reply = errorReply(stanza, error);
    if (reply === undefined) return undefined;
    const { node, sessionid } = stanza.payload?.attrs ?? {};
    reply.element.children.unshift(xml("command", { xmlns: NS.commands, node, sessionid }));
    return this.#api.route(reply);
  }

  #take(session: CommandSession, answer: CommandAnswer): Element | StanzaError {
    if (answer instanceof StanzaError) {
      if (session.stages.length === 0) this.#sessions.end(session);
      return answer;
    }
    if ("submit" in answer) {
      session.stages.push(answer);
      return commandElement(session, "executing");
    }
    this.#sessions.end(session);
    // By then the answer is written: a stream's output goes out at the end of the event loop's turn.
    if (answer.afterwards !== undefined) void this.#api.clock.turn().then(() => answer.afterwards?.());
    return commandElement(session, "completed", answer);
  }
}

/** A request that belongs to a session. */
interface Continuation {
  readonly command: AdHocCommand;
  readonly sessionid: string;
  readonly action: Action;
  readonly payload: Element;
}

/** XEP-0050 §2.2: the list of commands, and each command, are nodes of the host. */
function nodeOf(api: ModuleApi, { node, target, asked, asker }: NodeQuery): DiscoNode | StanzaError | undefined {
  if (target !== "host") return undefined;
  if (node === NS.commands) {
    const allowed = [...api.commands().values()].filter((command) => command.allowed(asker));
    const jid = asked.toString();
    return {
      identities: [{ category: "automation", type: "command-list", name: "Commands" }],
      features: [NS.discoInfo, NS.discoItems, NS.commands],
      items: allowed.map((command) => ({ jid, node: command.node, name: command.name })),
    };
  }
  const command = api.commands().get(node);
  if (command === undefined) return undefined;
  if (!command.allowed(asker)) return new StanzaError("forbidden");
  return {
    identities: [{ category: "automation", type: "command-node", name: command.name }],
    features: [NS.commands, NS.dataForms],
  };
}
