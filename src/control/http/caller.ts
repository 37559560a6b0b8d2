// Who asks for an operation by HTTP, as operations want to know it.

import type { Caller } from "../../operations/operation.ts";
import type { TokenHolder } from "./tokens.ts";

/** Returns the caller that a token stands for. */
export function callerFor({ name, may }: TokenHolder): Caller {
  return { trigger: "HTTP", who: name, may };
}
