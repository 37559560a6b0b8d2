// How answers are written: with the headers that every one has, errors as JSON. Not for: deciding what to answer.

import type { ServerResponse } from "node:http";

export const TEXT = "text/plain; charset=utf-8";
const JSON_TYPE = "application/json; charset=utf-8";

/** What browsers are told about every answer: nothing from elsewhere, in no frame, as the type it has, kept nowhere. */
const HEADERS: Readonly<Record<string, string>> = {
  "Content-Security-Policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "X-Content-Type-Options": "nosniff",
  "X-Frame-Options": "DENY",
  "Referrer-Policy": "no-referrer",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Cache-Control": "no-store",
};

type Headers = Readonly<Record<string, string>>;

/** Writes the head of an answer whose body comes later. */
export function begin(response: ServerResponse, status: number, headers: Headers): void {
  response.writeHead(status, { ...HEADERS, ...headers });
}

/** Writes a whole answer; to HEAD only its head. */
export function answer(
  response: ServerResponse,
  status: number,
  type: string,
  body: string,
  headers: Headers = {},
): void {
  const length = String(Buffer.byteLength(body));
  begin(response, status, { "Content-Type": type, "Content-Length": length, ...headers });
  response.end(body);
}

/** Writes a value as JSON. */
export function answerJson(response: ServerResponse, value: unknown): void {
  answer(response, 200, JSON_TYPE, `${JSON.stringify(value)}\n`);
}

/** Says why something was not done: a stable code for programs, a sentence for people. */
export function refuse(
  response: ServerResponse,
  status: number,
  code: string,
  message: string,
  headers: Headers = {},
): void {
  answer(response, status, JSON_TYPE, `${JSON.stringify({ code, message })}\n`, headers);
}

/** Returns a whole answer as bytes, for a peer whose request could not be read. */
export function rawRefusal(status: string, code: string, message: string): string {
  const body = `${JSON.stringify({ code, message })}\n`;
  const headers = {
    ...HEADERS,
    "Content-Type": JSON_TYPE,
    "Content-Length": Buffer.byteLength(body),
    Connection: "close",
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  return `HTTP/1.1 ${status}\r\n${lines.join("\r\n")}\r\n\r\n${body}`;
}
