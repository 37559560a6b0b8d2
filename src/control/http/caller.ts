// Who asks for an operation by HTTP, and whether they are still there, as operations want to know it.

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Caller } from "../../operations/operation.ts";
import type { TokenHolder } from "./tokens.ts";

/** Returns a signal that aborts when the client goes away, or its answer is complete. */
export function goneSignal({ socket }: IncomingMessage, response: ServerResponse): AbortSignal {
  const gone = new AbortController();
  const leave = (): void => {
    socket.off("close", leave);
    gone.abort();
  };
  // Of an answer that has to wait for another one on the same connection only the connection says that it is gone.
  socket.once("close", leave);
  response.once("close", leave);
  if (socket.destroyed) leave();
  return gone.signal;
}

/** Returns the caller that a token stands for. */
export function callerFor({ name, may }: TokenHolder): Caller {
  return { trigger: "HTTP", who: name, may };
}
