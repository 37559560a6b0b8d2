import assert from "node:assert/strict";
import { OPERATION_NAMES } from "../../../src/config/operation-names.ts";
import { configSchema } from "../../../src/config/schema.ts";
import { Jid } from "../../../src/jid/jid.ts";
import { type Call, type Caller, change, noArguments, read } from "../../../src/operations/operation.ts";
import { Operations } from "../../../src/operations/operations.ts";
import { Rights } from "../../../src/operations/rights.ts";
import type { OperationTable } from "../../../src/operations/table.ts";
import { MorendoError } from "../../../src/util/errors.ts";
import type { Logger } from "../../../src/util/log.ts";

interface Line {
  readonly level: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

describe("Operations", () => {
  let done: string[];
  let lines: Line[];

  const log: Logger = {
    debug: (fields) => lines.push({ level: "debug", fields: fields as Line["fields"] }),
    info: (fields) => lines.push({ level: "info", fields: fields as Line["fields"] }),
    warn: (fields) => lines.push({ level: "warn", fields: fields as Line["fields"] }),
    error: (fields) => lines.push({ level: "error", fields: fields as Line["fields"] }),
    child: () => log,
  };

  beforeEach(() => {
    done = [];
    lines = [];
  });

  /** Every operation notes that it was done; some are special. */
  function operations(): Operations {
    const plain = OPERATION_NAMES.map((name) => [name, change(noArguments, () => void done.push(name))] as const);
    const special = {
      status: read(noArguments, () => ({ state: "running" })),
      cancel: change(noArguments, () => {
        throw new MorendoError("MORENDO_TEST", "on purpose");
      }),
    };
    const table = { ...Object.fromEntries(plain), ...special } as OperationTable;
    return new Operations({ table: () => table, log });
  }

  function call(caller: Partial<Caller> = {}): Call {
    return {
      caller: { trigger: "control socket", may: () => true, ...caller },
      emit: () => undefined,
      signal: new AbortController().signal,
    };
  }

  it("performs what is in the table, and keeps a log of who asked for what changes something", async () => {
    assert.deepEqual(await operations().perform("stop", {}, call({ who: "tester" })), { ok: true, result: null });
    assert.deepEqual(done, ["stop"]);
    assert.deepEqual(lines, [
      { level: "info", fields: { operation: "stop", trigger: "control socket", who: "tester" } },
    ]);
  });

  it("logs what only tells something as debug", async () => {
    assert.deepEqual(await operations().perform("status", undefined, call()), {
      ok: true,
      result: { state: "running" },
    });
    assert.deepEqual(
      lines.map(({ level }) => level),
      ["debug"],
    );
  });

  it("refuses, logs and does not begin what is unknown, not allowed or wrongly asked for", async () => {
    const may = (name: string): boolean => name === "status";
    const cases: readonly (readonly [string, unknown, Call, string])[] = [
      ["explode", {}, call(), "MORENDO_UNKNOWN_ACTION"],
      ["constructor", {}, call(), "MORENDO_UNKNOWN_ACTION"],
      ["x".repeat(100_000), {}, call(), "MORENDO_UNKNOWN_ACTION"],
      ["stop", {}, call({ may }), "MORENDO_NOT_ALLOWED"],
      ["stop", { when: "now" }, call(), "MORENDO_BAD_ARGUMENTS"],
      ["stop", [], call(), "MORENDO_BAD_ARGUMENTS"],
    ];
    for (const [name, args, asked, code] of cases) {
      const outcome = await operations().perform(name, args, asked);
      assert.equal(outcome.ok ? "done" : outcome.error.code, code);
      const line = lines.pop();
      assert.equal(line?.level, "warn");
      assert.equal(line.fields.code, code);
      assert.ok(JSON.stringify(outcome).length < 2_000, "the answer is short");
    }
    assert.deepEqual(done, []);
  });

  it("names in a refusal only what the caller may ask for", async () => {
    const outcome = await operations().perform("explode", {}, call({ may: (name) => name === "status" }));
    assert.ok(!outcome.ok);
    assert.equal(outcome.error.message, 'there is no action "explode"; known are status');
  });

  it("answers with the code of what an operation throws", async () => {
    const outcome = await operations().perform("cancel", {}, call());
    assert.deepEqual(outcome, { ok: false, error: { code: "MORENDO_TEST", message: "on purpose" } });
  });

  describe("for modules", () => {
    const admin = { accounts: ["Admin@A.test"], allow: { "monitor@a.test": ["status" as const] } };
    const forModules = (): ReturnType<Operations["forModules"]> =>
      operations().forModules(new Rights(configSchema.parse({ admin }).admin));
    const jid = (text: string): Jid => {
      const parsed = Jid.parse(text);
      assert.ok(parsed !== undefined);
      return parsed;
    };

    it("administrators may do everything, from any of their resources", async () => {
      assert.deepEqual([...forModules().allowed(jid("admin@a.test"))], [...OPERATION_NAMES]);
      assert.equal((await forModules().perform(jid("admin@a.test/home"), "stop")).ok, true);
      assert.deepEqual(lines[0]?.fields, { operation: "stop", trigger: "ad-hoc command", who: "admin@a.test" });
    });

    it("others may do what they are allowed by name", async () => {
      assert.deepEqual([...forModules().allowed(jid("monitor@a.test"))], ["status"]);
      assert.equal((await forModules().perform(jid("monitor@a.test"), "status")).ok, true);
      const refused = await forModules().perform(jid("monitor@a.test"), "stop");
      assert.equal(refused.ok ? "done" : refused.error.code, "MORENDO_NOT_ALLOWED");
    });

    it("everybody else may do nothing", async () => {
      for (const who of ["romeo@a.test", "admin@b.test", "a.test"]) {
        assert.equal(forModules().allowed(jid(who)).size, 0, who);
        assert.equal((await forModules().perform(jid(who), "status")).ok, false);
      }
    });

    it("rights that are replaced count at once", async () => {
      const rights = new Rights({ accounts: [], allow: {} });
      const performed = operations().forModules(rights);
      assert.equal((await performed.perform(jid("admin@a.test"), "stop")).ok, false);
      rights.replace({ accounts: ["admin@a.test"], allow: {} });
      assert.equal((await performed.perform(jid("admin@a.test"), "stop")).ok, true);
    });
  });
});
