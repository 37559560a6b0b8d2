// Keeps config/morendo.toml and the schema equal: the same options in both, with the same values.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { parse } from "smol-toml";
import { z } from "zod";
import { kindAt, namesAt, needsRestart } from "../../../src/config/options.ts";
import { configSchema } from "../../../src/config/schema.ts";

const file = new URL("../../../config/morendo.toml", import.meta.url);

/** Takes the `#` away from every commented-out option and header. */
function uncommented(text: string): string {
  return text.replace(/^#(?=\[|"?[\w.-]+"? = )/gm, "");
}

/** Every option of the schema by its path, tables opened up; maps and lists are one option each. */
function schemaOptions(path: readonly string[] = []): string[] {
  return namesAt(path).flatMap((name) => {
    const inner = [...path, name];
    return kindAt(inner) === "table" ? schemaOptions(inner) : [inner.join(".")];
  });
}

function fileOptions(value: object, path: readonly string[] = []): string[] {
  return Object.entries(value).flatMap(([name, inner]) => {
    const here = [...path, name];
    return kindAt(here) === "table" ? fileOptions(inner, here) : [here.join(".")];
  });
}

/** The schema's defaults as a file would write them, before durations and sizes become numbers. */
function defaults(): Record<string, unknown> {
  const json = z.toJSONSchema(configSchema, { io: "input", unrepresentable: "any" });
  return defaultsOf(json) as Record<string, unknown>;
}

function defaultsOf(json: z.core.JSONSchema.BaseSchema): unknown {
  if (json.properties === undefined) return json.default;
  const entries = Object.entries(json.properties).map(([name, inner]) => [
    name,
    typeof inner === "boolean" ? undefined : defaultsOf(inner),
  ]);
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}

describe("config/morendo.toml", () => {
  const text = readFileSync(file, "utf8");

  it("is valid as it is, and then means the defaults", () => {
    const parsed = configSchema.parse(parse(text));
    // The headers of modules stand there without options.
    const modules = { roster: {}, presence: {}, offline: {}, version: {}, commands: {} };
    assert.deepEqual(parsed, { ...configSchema.parse({}), module: modules });
  });

  it("shows every option of the schema and no other", () => {
    const shown = fileOptions(parse(uncommented(text))).filter((option) => option !== "module");
    assert.deepEqual(
      shown.toSorted(),
      schemaOptions()
        .filter((option) => option !== "module")
        .toSorted(),
    );
    assert.deepEqual(namesAt(["hosts", 0]), ["name", "certificate", "key"]);
    assert.match(text, /^#name = .*[\s\S]*^#certificate = [\s\S]*^#key = /m);
  });

  it("shows the default of every option that has one", () => {
    const shown = parse(uncommented(text));
    // Options without a default stand there as examples; the sentence above each says so.
    const examples = [
      /^#certificate = .*/m,
      /^#key = .*/m,
      /^#sm_location = .*/m,
      /^#see_other_host = .*/m,
      /^#file = .*/m,
      /^#"b\.test" = .*/m,
    ];
    const withoutExamples = examples.reduce((left, example) => left.replace(example, ""), text);
    const expected = defaults();
    const { module: _, ...rest } = expected;
    const { module: __, ...shownDefaults } = parse(uncommented(withoutExamples));
    assert.deepEqual(JSON.parse(JSON.stringify(shownDefaults)), rest);
    for (const example of examples) {
      const before = text.slice(0, text.search(example)).trimEnd().split("\n").at(-1) ?? "";
      assert.match(before, /\(no default\)/, `${example} does not say that it is an example`);
    }
    assert.doesNotThrow(() => configSchema.parse(shown));
  });

  it("shows every option of every module, with its default", async () => {
    const { module = {} } = parse(uncommented(text)) as { module?: Record<string, object> };
    const root = new URL("../../../modules/", import.meta.url);
    for (const { name } of readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory())) {
      const { default: definition } = (await import(new URL(`${name}/index.ts`, root).href)) as {
        default: { options?: z.ZodType };
      };
      const options = definition.options ?? z.strictObject({});
      const shownHere = { ...module[name] };
      const json = z.toJSONSchema(options, { io: "input", unrepresentable: "any" });
      assert.deepEqual(Object.keys(shownHere).toSorted(), Object.keys(json.properties ?? {}).toSorted(), name);
      const inner = defaultsOf(json) as Record<string, unknown>;
      for (const [option, value] of Object.entries(shownHere)) {
        // An example stands where there is no default, and says so.
        if (option in inner) assert.deepEqual(value, inner[option], `${name}.${option}`);
        else assert.match(text, new RegExp(`^# .*\\(no default\\)\\.\n#${option} = `, "m"), `${name}.${option}`);
      }
      assert.doesNotThrow(() => options.parse(shownHere), name);
    }
  });

  it("says of every option whether it takes a restart", () => {
    let table: readonly string[] = [];
    const lines = text.split("\n");
    const seen: string[] = [];
    for (const [index, line] of lines.entries()) {
      const header = /^#?\[+([\w.-]+)\]+$/.exec(line);
      if (header?.[1] !== undefined) table = header[1] === "hosts" ? ["hosts", "0"] : header[1].split(".");
      const option = /^#([\w-]+) = /.exec(line)?.[1];
      if (option === undefined) continue;
      const path = [...table, option];
      const isMarked = lines[index - 1]?.endsWith("(restart).") === true;
      assert.equal(isMarked, needsRestart(path), path.join("."));
      if (isMarked) seen.push(path.join("."));
    }
    assert.ok(seen.includes("hosts.0.name") && seen.includes("c2s.listen_tls"), seen.join(", "));
  });

  it("explains every option: a sentence stands above it", () => {
    const lines = text.split("\n");
    for (const [index, line] of lines.entries()) {
      if (!/^#"?[\w.-]+"? = /.test(line) || /^#(floor|ceiling) = /.test(line)) continue;
      assert.match(lines[index - 1] ?? "", /^# .+[.)]$/, `line ${index + 1}: ${line}`);
    }
  });
});
