// The control protocol: the same lines however the input is cut, nothing kept beyond the bound, and each line a request or
// the reason why it is none.

import assert from "node:assert/strict";
import { LineReader, parseRequest } from "../../../src/control/protocol.ts";
import { cut, type Target } from "../harness/target.ts";

const LIMIT = 200;

/** Requests on the control socket. */
export const control: Target = {
  name: "control",
  seeds: [
    '{"id":1,"action":"status"}\n',
    '{"id":2,"action":"stop","args":{"reason":"ü"}}\n{"id":3,"action":"plan"}\n',
    "\n\n  \n{}\n",
    "x".repeat(300),
  ],
  words: [
    "\n",
    "{",
    "}",
    "[",
    "]",
    '"',
    ":",
    ",",
    '"id":',
    '"action":',
    '"args":',
    "1e400",
    "-1",
    "1.5",
    "null",
    "true",
    '"__proto__":',
    "\\u0000",
    "\\ud800",
    "ü",
    "𝄞",
    Buffer.of(0xff),
    "{}",
    " ".repeat(190),
  ],
  run(input, random) {
    const whole = linesOf([input]);
    const pieces = linesOf(cut(input, random));
    // A line that is too long is noticed sooner when it comes in pieces; the lines before it are the same.
    assert.deepEqual(
      pieces.lines.slice(0, whole.lines.length),
      whole.isBroken ? pieces.lines.slice(0, whole.lines.length) : whole.lines,
    );
    assert.equal(pieces.isBroken, whole.isBroken, "too long only when cut in one way");
    for (const line of pieces.lines) {
      assert.ok(line.length <= LIMIT, "a line beyond the limit");
      const request = parseRequest(line);
      assert.ok("code" in request ? request.code === "MORENDO_BAD_REQUEST" : Number.isSafeInteger(request.id));
    }
  },
};

function linesOf(pieces: readonly Buffer[]): { readonly lines: readonly string[]; readonly isBroken: boolean } {
  const reader = new LineReader(LIMIT);
  const lines: string[] = [];
  for (const piece of pieces) {
    const read = reader.read(piece);
    if (read === undefined) return { lines, isBroken: true };
    lines.push(...read);
  }
  return { lines, isBroken: false };
}
