// The public API for module authors: everything a module may import, besides the builders in src/xml, src/jid and
// src/stanza.

import type { z } from "zod";
import type { ModuleDefinition } from "./server/module-api.ts";

export { z } from "zod";
export type * from "./server/catalogue.ts";
export type * from "./server/module-api.ts";
export type { PhaseName } from "./server/phases.ts";
export type * from "./server/rosters.ts";
export type { Session } from "./server/session.ts";
export type { Key, Value } from "./store/store.ts";

/** Returns `definition` as it is; it exists so that the editor knows the types of `api` and `options`. */
export function defineModule<Options extends z.ZodType>(
  definition: ModuleDefinition<Options>,
): ModuleDefinition<Options> {
  return definition;
}
