// The public API for module authors: everything a module outside this repository may import, as `morendo/module`. Those
// in modules/ may import the builders in src/xml, src/jid and src/stanza as well. How to write one: docs/modules.md; what
// there is to hook: docs/CATALOGUE.md.

import { z } from "zod";
import type { ModuleDefinition } from "./server/module-api.ts";
import { parseDuration } from "./util/units.ts";

export { z } from "zod";
export { Jid } from "./jid/jid.ts";
export type {
  AdHocCommand,
  CommandAnswer,
  CommandNote,
  CommandRequest,
  CommandResult,
  CommandStage,
} from "./server/ad-hoc-command.ts";
export type * from "./server/catalogue.ts";
export type * from "./server/module-api.ts";
export type { PhaseName } from "./server/phases.ts";
export type * from "./server/rosters.ts";
export type { Session } from "./server/session.ts";
export { Teller, type TellerOptions, type Telling, type TellingProgress } from "./server/teller.ts";
export { filled, template } from "./server/text-template.ts";
export {
  type DataForm,
  type FieldOption,
  type FieldType,
  type FormField,
  FormValues,
  resultElement,
} from "./stanza/data-form.ts";
export { elementOf, treeOf } from "./stanza/element-tree.ts";
export { describeStanza, Stanza } from "./stanza/stanza.ts";
export { type ErrorCondition, errorReply, resultOf, StanzaError } from "./stanza/stanza-error.ts";
export type { Key, Value } from "./store/store.ts";
export type { Clock, Timer } from "./util/clock.ts";
export type { Logger } from "./util/log.ts";
export type { Random } from "./util/random.ts";
export { copyOf, Element, xml } from "./xml/element.ts";
export { NS } from "./xml/ns.ts";

/** Returns `definition` as it is; it exists so that the editor knows the types of `api` and `options`. */
export function defineModule<Options extends z.ZodType>(
  definition: ModuleDefinition<Options>,
): ModuleDefinition<Options> {
  return definition;
}

/** Returns the schema of an option that is a duration such as `"2s"`; the module is given milliseconds. */
export function duration(fallback: string): z.ZodType<number, string | undefined> {
  return z
    .string()
    .default(fallback)
    .transform((text, context) => {
      const ms = parseDuration(text);
      if (ms !== undefined) return ms;
      context.addIssue({ code: "custom", message: 'expected a duration such as "2s"' });
      return z.NEVER;
    });
}
