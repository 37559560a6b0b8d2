// A server that nobody offers operations on, such as one inside another program: no account has a right to any.

import type { ModuleOperations } from "./module-api.ts";

/** Refuses everything. */
export const noOperations: ModuleOperations = {
  allowed: () => new Set(),
  perform: (_who, name) =>
    Promise.resolve({ ok: false, error: { code: "MORENDO_NOT_ALLOWED", message: `no right to ${name}` } }),
};
