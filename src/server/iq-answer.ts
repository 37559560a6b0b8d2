// Whether what a module's handler returns can be sent as the answer to an IQ request. Sending it is the router's business.

import { StanzaError } from "../stanza/stanza-error.ts";
import { MorendoError } from "../util/errors.ts";

/** Returns `answer`; throws when nobody could send it, so that the module is named and the next one asked. */
export function checkedIqAnswer<Answer>(answer: Answer): Answer {
  if (answer === undefined || answer === "empty" || answer === "handled" || answer instanceof StanzaError)
    return answer;
  // By what it can do and not by its class: the module may have built it with its own copy of ltx.
  const isElement = typeof answer === "object" && answer !== null && "getNS" in answer;
  if (isElement) return answer;
  throw new MorendoError("MORENDO_MODULE_MISUSE", 'the answer is no element, StanzaError, "empty" or "handled"');
}
