// One HTTP request of the webhook: posts a body, returns the status, and holds nothing afterwards. It reads little of the
// answer, follows no redirection and keeps no connection. When and how often: delivery.ts.

import { createHmac } from "node:crypto";
import { type OutgoingHttpHeaders, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";

/** What is posted, and where to. */
export interface Post {
  readonly url: string;
  readonly body: string;
  readonly headers: OutgoingHttpHeaders;
}

/** How much of an answer is read before the connection is cut. */
const MAX_ANSWER_BYTES = 65_536;

/**
 * Posts and resolves with the status of the answer. Rejects when there is none: the connection is refused or breaks, or
 * `signal` aborts. Whatever happens, the connection is gone when it settles.
 */
export function post({ url, body, headers }: Post, signal: AbortSignal): Promise<number> {
  return new Promise((resolve, reject) => {
    let status: number | undefined;
    let failure: Error | undefined;
    let read = 0;
    const request = (url.startsWith("https:") ? requestHttps : requestHttp)(url, {
      method: "POST",
      // A connection of its own, closed when it is done: a server that goes down must not keep any.
      agent: false,
      headers: { ...headers, "content-length": Buffer.byteLength(body) },
    });
    const abort = (): void => {
      request.destroy(new Error("no answer in time"));
    };
    signal.addEventListener("abort", abort);
    request.on("response", (response) => {
      status = response.statusCode;
      response.on("data", (chunk: Buffer) => {
        read += chunk.length;
        if (read > MAX_ANSWER_BYTES) request.destroy();
      });
      // Once there is a status, an answer that breaks off changes nothing.
      response.on("error", () => undefined);
    });
    request.on("error", (error) => {
      failure = error;
    });
    request.on("close", () => {
      signal.removeEventListener("abort", abort);
      if (status !== undefined) resolve(status);
      else reject(failure ?? new Error("the connection was closed without an answer"));
    });
    if (signal.aborted) abort();
    request.end(body);
  });
}

/** Returns what `X-Morendo-Signature` says of `body`: `sha256=` and the HMAC in hexadecimal digits. */
export function signatureOf(body: string, secret: string): string {
  return `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`;
}
