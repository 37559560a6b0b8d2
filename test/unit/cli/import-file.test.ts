import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { importAccounts } from "../../../src/cli/import-file.ts";
import type { AccountEntry, EntryProblem } from "../../../src/operations/user-admin.ts";

describe("importAccounts", () => {
  let created: AccountEntry[];
  let existing: Set<string>;
  let steps: string[];
  beforeEach(() => {
    created = [];
    existing = new Set();
    steps = [];
  });

  const users = {
    async check(entries: readonly AccountEntry[]): Promise<readonly EntryProblem[]> {
      return entries.flatMap(({ jid }, index) => (existing.has(jid) ? [{ index, message: `${jid} exists` }] : []));
    },
    async import(entries: readonly AccountEntry[]): Promise<number> {
      created.push(...entries);
      return entries.length;
    },
  };

  const run = (lines: readonly string[], skipBad = false) =>
    importAccounts(Readable.from(lines) as AsyncIterable<string>, {
      users,
      skipBad,
      onProgress: (step, done, total) => steps.push(`${step} ${done}/${total}`),
    });

  const line = (jid: string): string => JSON.stringify({ jid, password: "p" });

  it("creates what the lines say, and passes over empty ones", async () => {
    const result = await run([line("a@x"), "", "  ", line("b@x")]);
    assert.deepEqual(result, { imported: 2, problems: [] });
    assert.deepEqual(
      created.map(({ jid }) => jid),
      ["a@x", "b@x"],
    );
  });

  it("reports every bad line by its number and imports nothing", async () => {
    existing.add("old@x");
    const result = await run([
      line("a@x"),
      "{nonsense",
      '{"jid":"b@x"}',
      "",
      line("old@x"),
      line("A@x"),
      '{"jid":"c@x","password":"p","roster":[{"jid":"d@x","subscription":"maybe"}]}',
      '{"jid":"e@x","password":"p","pasword":"q"}',
    ]);
    assert.equal(result.imported, 0);
    assert.deepEqual(created, []);
    assert.deepEqual(
      result.problems.map(({ line: number }) => number),
      [2, 3, 5, 6, 7, 8],
    );
    const text = result.problems.map(({ message }) => message).join("\n");
    assert.match(text, /not JSON/);
    assert.match(text, /password: /);
    assert.match(text, /A@x stands on line 1 already/);
    assert.match(text, /roster\.0\.subscription/);
    assert.match(text, /pasword/);
  });

  it("imports the good lines when told to skip the bad ones", async () => {
    existing.add("old@x");
    const result = await run([line("a@x"), "{", line("old@x"), line("b@x")], true);
    assert.equal(result.imported, 2);
    assert.equal(result.problems.length, 2);
    assert.deepEqual(
      created.map(({ jid }) => jid),
      ["a@x", "b@x"],
    );
  });

  it("works in batches: all are checked before the first is created", async () => {
    const result = await run(Array.from({ length: 1_200 }, (_, index) => line(`u${index}@x`)));
    assert.equal(result.imported, 1_200);
    assert.deepEqual(
      steps,
      [500, 1000, 1200].flatMap((n) => [`check ${n}/1200`]).concat([500, 1000, 1200].map((n) => `import ${n}/1200`)),
    );
  });

  it("says how far it got when creating fails", async () => {
    let calls = 0;
    const failing = {
      ...users,
      async import(entries: readonly AccountEntry[]): Promise<number> {
        if (++calls === 2) throw new Error("the disk is full");
        return entries.length;
      },
    };
    const lines = Array.from({ length: 700 }, (_, index) => line(`u${index}@x`));
    await assert.rejects(
      importAccounts(Readable.from(lines) as AsyncIterable<string>, {
        users: failing,
        skipBad: false,
        onProgress: () => undefined,
      }),
      /lines 501 to 700: the disk is full; 500 accounts before that were imported/,
    );
  });
});
