// Reads the body of a request: JSON of bounded size, or what is wrong with it.

import type { IncomingMessage } from "node:http";

/** The largest body that is read, in bytes. */
export const MAX_BODY = 64 * 1024;

/** What a body holds, or the answer it gets. */
export type Body =
  | { readonly value: unknown }
  | { readonly status: number; readonly code: string; readonly message: string };

/** Reads the body as JSON; an empty one is undefined. Rejects when the connection breaks before its end. */
export async function readJson(request: IncomingMessage): Promise<Body> {
  const announced = Number(request.headers["content-length"] ?? 0);
  if (announced > MAX_BODY) return tooLarge();
  const chunks: Buffer[] = [];
  let size = 0;
  // Taking it apart by events and not by iteration: leaving an iteration would break the connection before the answer.
  const isWhole = await new Promise<boolean>((resolve, reject) => {
    request.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size <= MAX_BODY) chunks.push(chunk);
      else resolve(false);
    });
    request.once("end", () => resolve(true));
    request.once("error", reject);
    request.once("close", () => reject(new Error("the connection broke")));
  });
  if (!isWhole) return tooLarge();
  if (size === 0) return { value: undefined };
  const type = request.headers["content-type"] ?? "";
  if (!/^application\/json\s*(;|$)/i.test(type)) {
    return { status: 415, code: "MORENDO_BAD_REQUEST", message: "a body has to be of the type application/json" };
  }
  try {
    return { value: JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks))) as unknown };
  } catch {
    return { status: 400, code: "MORENDO_BAD_REQUEST", message: "the body is not JSON" };
  }
}

function tooLarge(): Body {
  return { status: 413, code: "MORENDO_BAD_REQUEST", message: `a body may have ${MAX_BODY} bytes` };
}
