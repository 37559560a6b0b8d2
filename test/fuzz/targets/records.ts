// What is read from the disk: keys and values of the store, roster items, drain reports, lines of an import. What is
// damaged is refused with its code, or is something else that is whole; nothing loops, and nothing is made up.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { importAccounts } from "../../../src/cli/import-file.ts";
import { decodeItem, encodeItem } from "../../../src/server/roster-item.ts";
import { readLastReport } from "../../../src/shutdown/report-file.ts";
import { describeReport } from "../../../src/shutdown/report-text.ts";
import { decodeKey, encodeKey } from "../../../src/store/keys.ts";
import { decodeEntry, decodeValue, encodeRecord } from "../../../src/store/records.ts";
import type { Key } from "../../../src/store/store.ts";
import { codeOf } from "../../../src/util/errors.ts";
import { parseDuration, parseSize } from "../../../src/util/units.ts";
import type { Target } from "../harness/target.ts";

const KEYS: readonly Key[] = [["romeo@a.test", 1], ["a\0b", -1.5, "x"], [], ["", 0], ["ä", 2 ** 53]];

/** Entries of the store: two bytes with the length of the key, the key, the value. */
export const records: Target = {
  name: "records",
  seeds: KEYS.map((key) => {
    const encoded = encodeKey("c", key);
    const length = Buffer.alloc(2);
    length.writeUInt16BE(encoded.bytes.length);
    return Buffer.concat([
      length,
      encoded.bytes,
      Buffer.from(encodeRecord(key, encoded, { subscription: "both", groups: ["x"] })),
    ]);
  }),
  words: [
    Buffer.of(0),
    Buffer.of(0, 0xff),
    Buffer.of(0, 0xfe),
    Buffer.of(1),
    Buffer.of(2),
    Buffer.of(3),
    Buffer.of(1, 0, 0, 0, 0, 0, 0, 0, 0),
    "K",
    '["x"]',
    "K[]",
    "K[[1],2]",
    "{}",
    "null",
    '"subscription"',
    "[[[[[[",
  ],
  run(input) {
    const length = input.length < 2 ? 0 : input.readUInt16BE() % (input.length - 1);
    const bytes = input.subarray(2, 2 + length);
    const text = input.subarray(2 + length).toString();
    const outcome = attempt("MORENDO_STORE_CORRUPT", () => decodeEntry(bytes, text));
    if (outcome !== undefined) {
      const [key, value] = outcome;
      assert.ok(
        Array.isArray(key) && key.every((part) => typeof part === "string" || typeof part === "number"),
        "a key that is none",
      );
      assert.notEqual(value, undefined, "a value that is none");
      const item = decodeItem("a@b", value);
      if (item !== undefined) assert.deepEqual(decodeItem("a@b", encodeItem(item)), item);
    }
    attempt("MORENDO_STORE_CORRUPT", () => decodeValue(bytes, text));
    const key = attempt("MORENDO_STORE_CORRUPT", () => decodeKey(bytes));
    // A key made of what was read is read back: the text alone may be one that cannot be stored.
    const encoded = key && attempt("MORENDO_STORE_KEY", () => encodeKey("c", key));
    if (key !== undefined && encoded?.shortened === false) assert.deepEqual(decodeKey(encoded.bytes), key);
  },
};

let folder: string | undefined;
const REPORT = {
  version: 1,
  id: "12345678",
  cause: "stop",
  reason: "",
  trigger: "signal",
  startedAt: "2026-01-01T00:00:00Z",
  durationMs: 1,
  budgetMs: 2,
  startupMs: 3,
  hurried: false,
  skippedToEnd: false,
  phases: [{ name: "quit", durationMs: 1, participants: [] }],
  obligations: { run: {}, running: {}, destinations: [] },
  sections: {},
  repeatedRequests: [],
  repeatedCount: 0,
  outcome: "clean",
  exitCode: 0,
};

/** Drain reports, and their summary for people. */
export const reports: Target = {
  name: "reports",
  seeds: [JSON.stringify(REPORT), "{}", "null", ""],
  words: [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "null",
    "1",
    '""',
    ...Object.keys(REPORT).map((name) => `"${name}":`),
    '"obligations":{}',
    '"phases":[]',
    "true",
    "-1e999",
  ],
  run(input) {
    folder ??= mkdtempSync(join(tmpdir(), "morendo-fuzz-"));
    writeFileSync(join(folder, "last-drain.json"), input);
    const report = attempt("MORENDO_REPORT_DAMAGED", () => readLastReport(folder ?? ""));
    if (report !== undefined) assert.equal(typeof describeReport(report), "string");
  },
  async close() {
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
    folder = undefined;
  },
};

/** Accounts as JSON lines. */
export const imports: Target = {
  name: "imports",
  seeds: [
    '{"jid":"romeo@a.test","password":"x"}\n{"jid":"juliet@a.test","password":"y","roster":[{"jid":"romeo@a.test","subscription":"both","groups":["g"]}]}\n',
    "\n \nnull\n{}\n",
  ],
  words: [
    "\n",
    '{"jid":',
    '"password":',
    '"roster":',
    '"subscription":',
    '"both"',
    '"name":',
    '"groups":',
    "[",
    "]",
    "{",
    "}",
    ",",
    '"romeo@a.test"',
    '"ROMEO@a.test"',
    "null",
    '"__proto__":1',
    "\\ud800",
  ],
  async run(input) {
    const lines = input.toString().split("\n");
    let taken = 0;
    const users = {
      check: async () => [],
      import: async (entries: readonly unknown[]) => {
        taken += entries.length;
        return entries.length;
      },
    };
    const result = await importAccounts(linesOf(lines), { users, skipBad: true, onProgress: () => undefined });
    assert.equal(result.imported, taken);
    const filled = lines.filter((line) => line.trim() !== "").length;
    assert.equal(result.imported + result.problems.length, filled, "a line without a fate");
    for (const line of lines.slice(0, 20)) {
      for (const value of [parseDuration(line), parseSize(line)]) assert.ok(value === undefined || value >= 0);
    }
  },
};

async function* linesOf(lines: readonly string[]): AsyncGenerator<string> {
  yield* lines;
}

/** Returns what `work` does; undefined when it throws an error with `code`, which it may. */
function attempt<T>(code: string, work: () => T): T | undefined {
  try {
    return work();
  } catch (thrown) {
    if (codeOf(thrown) !== code) throw thrown;
    return undefined;
  }
}
