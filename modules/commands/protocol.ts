// What XEP-0050 says on the wire: actions, the element of an answer, and the errors with their conditions.

import type { CommandResult, CommandStage } from "../../src/module.ts";
import { formElement } from "../../src/stanza/data-form.ts";
import { StanzaError } from "../../src/stanza/stanza-error.ts";
import { type Element, xml } from "../../src/xml/element.ts";
import { NS } from "../../src/xml/ns.ts";
import type { CommandSession } from "./sessions.ts";

const ACTIONS = ["execute", "next", "prev", "complete", "cancel"] as const;

/** What a user asks a command to do. */
export type Action = (typeof ACTIONS)[number];

export function isAction(text: string): text is Action {
  return (ACTIONS as readonly string[]).includes(text);
}

/** The action that fills in the stage, and what `execute` means at it (XEP-0050 §3.4). */
export function nextAction({ hasNext = false }: CommandStage): "next" | "complete" {
  return hasNext ? "next" : "complete";
}

/** Returns the answer of a command: its present stage, or how it ended. */
export function commandElement(
  session: CommandSession,
  status: "executing" | "completed" | "canceled",
  { notes = [], payload = [] }: CommandResult = {},
): Element {
  const stage = status === "executing" ? session.stages.at(-1) : undefined;
  const all = stage === undefined ? notes : (stage.notes ?? []);
  return xml(
    "command",
    { xmlns: NS.commands, node: session.command.node, sessionid: session.id, status },
    stage === undefined ? undefined : actionsElement(session, stage),
    ...all.map(({ type, text }) => xml("note", { type }, text)),
    stage === undefined ? undefined : formElement(stage.form),
    ...payload,
  );
}

/** The errors of XEP-0050 §4. */
const ERRORS = {
  "malformed-action": ["bad-request", "the action is none that there is"],
  "bad-action": ["bad-request", "this action is not possible now"],
  "bad-payload": ["bad-request", "the form cannot be used"],
  "bad-sessionid": ["bad-request", "there is no such session of this command"],
  "session-expired": ["not-allowed", "this session of the command is over"],
} as const;

/** Returns the error with what XEP-0050 adds to it; `text` says more to people. */
export function commandError(name: keyof typeof ERRORS, text?: string): StanzaError {
  const [condition, usual] = ERRORS[name];
  return new StanzaError(condition, text ?? usual, undefined, { name, namespace: NS.commands });
}

function actionsElement({ stages }: CommandSession, stage: CommandStage): Element {
  const next = nextAction(stage);
  const hasPrevious = stages.length > 1 && stage.hasPrevious !== false;
  return xml("actions", { execute: next }, hasPrevious ? xml("prev") : undefined, xml(next));
}
