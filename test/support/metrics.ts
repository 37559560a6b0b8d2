// A strict reader of the two text formats for metrics, written from their specifications and not from our writer: whatever
// they do not allow is an error with its line.

import assert from "node:assert/strict";

/** One line with a number. */
export interface Reading {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** What belongs to one family. */
export interface ReadFamily {
  readonly type: string;
  readonly help: string;
  readonly readings: readonly Reading[];
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const LABEL = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
const SUFFIXES: Readonly<Record<string, readonly string[]>> = {
  counter: ["_total", "_created"],
  gauge: [""],
  histogram: ["_bucket", "_count", "_sum", "_created"],
  info: ["_info"],
  stateset: [""],
  unknown: [""],
};

/** Reads OpenMetrics 1.0. Throws what is wrong with it. */
export function readOpenMetrics(text: string): ReadonlyMap<string, ReadFamily> {
  assert.ok(text.endsWith("# EOF\n"), "the last line is # EOF");
  const lines = text.slice(0, -"# EOF\n".length).split("\n");
  assert.equal(lines.pop(), "", "each line ends with a line feed");
  const families = readLines(lines, SUFFIXES);
  for (const [name, { type, readings }] of families) {
    if (type === "counter") for (const { value } of readings) assert.ok(value >= 0, `${name} is never negative`);
    if (type === "info") for (const { value } of readings) assert.equal(value, 1, `${name} is always 1`);
    if (type === "stateset") checkStates(name, readings);
    if (type === "histogram") checkHistogram(name, readings);
  }
  return families;
}

/** Reads the text format 0.0.4 of Prometheus. Throws what is wrong with it. */
export function readPrometheus(text: string): ReadonlyMap<string, ReadFamily> {
  const lines = text.split("\n");
  assert.equal(lines.pop(), "", "each line ends with a line feed");
  const families = readLines(lines, {
    counter: [""],
    gauge: [""],
    histogram: ["_bucket", "_count", "_sum"],
    untyped: [""],
  });
  for (const [name, { type, readings }] of families) if (type === "histogram") checkHistogram(name, readings);
  return families;
}

function readLines(
  lines: readonly string[],
  suffixes: Readonly<Record<string, readonly string[]>>,
): ReadonlyMap<string, ReadFamily> {
  const families = new Map<string, { type: string; help: string; readings: Reading[] }>();
  const seen = new Set<string>();
  let current = "";
  for (const line of lines) {
    const comment = /^# (HELP|TYPE) (\S+) (.*)$/s.exec(line);
    if (comment !== null) {
      const [, kind = "", name = "", rest = ""] = comment;
      assert.match(name, NAME, line);
      if (name !== current) {
        assert.ok(!families.has(name), `a family stands in one piece: ${line}`);
        families.set(name, { type: "", help: "", readings: [] });
        current = name;
      }
      const family = families.get(name);
      assert.ok(family !== undefined && family.readings.length === 0, `${line} stands before the numbers`);
      if (kind === "HELP") family.help = rest;
      else {
        assert.ok(rest in suffixes, `a known type: ${line}`);
        family.type = rest;
      }
      continue;
    }
    const reading = readSample(line);
    const family = families.get(current);
    assert.ok(family !== undefined, `${line} has a family`);
    const endings = suffixes[family.type] ?? [];
    assert.ok(
      endings.some((ending) => reading.name === current + ending),
      `${line} belongs to ${current} (${family.type})`,
    );
    const identity = `${reading.name} ${JSON.stringify(Object.entries(reading.labels).toSorted(([one], [other]) => (one < other ? -1 : 1)))}`;
    assert.ok(!seen.has(identity), `${line} stands there once`);
    seen.add(identity);
    family.readings.push(reading);
  }
  return families;
}

function readSample(line: string): Reading {
  const match = /^([^\s{]+)(\{.*\})? (\S+)$/s.exec(line);
  assert.ok(match !== null, `a number: ${line}`);
  const [, name = "", labels = "{}", value = ""] = match;
  assert.match(name, NAME, line);
  assert.match(value, /^([+-]?Inf|NaN|[+-]?\d+(\.\d+)?(e[+-]?\d+)?)$/i, line);
  return { name, labels: readLabels(labels.slice(1, -1), line), value: Number(value.replace("Inf", "Infinity")) };
}

function readLabels(text: string, line: string): Record<string, string> {
  const labels: Record<string, string> = {};
  let rest = text;
  while (rest !== "") {
    const match = /^([^=,]+)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/.exec(rest);
    assert.ok(match !== null, `labels: ${line}`);
    const [whole, name = "", value = ""] = match;
    assert.match(name, LABEL, line);
    assert.ok(!Object.hasOwn(labels, name), `each label once: ${line}`);
    labels[name] = value.replace(/\\(.)/g, (_, escaped: string) => (escaped === "n" ? "\n" : escaped));
    rest = rest.slice(whole.length);
  }
  return labels;
}

function checkStates(name: string, readings: readonly Reading[]): void {
  for (const { labels, value } of readings) {
    assert.ok(Object.hasOwn(labels, name), `${name} has a label of its own name`);
    assert.ok(value === 0 || value === 1, `${name} is 0 or 1`);
  }
}

function checkHistogram(name: string, readings: readonly Reading[]): void {
  const buckets = readings.filter((reading) => reading.name === `${name}_bucket`);
  const bounds = buckets.map(({ labels }) => Number((labels.le ?? "").replace("Inf", "Infinity")));
  assert.equal(bounds.at(-1), Number.POSITIVE_INFINITY, `${name} ends with +Inf`);
  for (let at = 1; at < buckets.length; at++) {
    assert.ok((bounds[at] ?? 0) > (bounds[at - 1] ?? 0), `${name}: bounds rise`);
    assert.ok((buckets[at]?.value ?? 0) >= (buckets[at - 1]?.value ?? 0), `${name}: counts rise`);
  }
  const count = readings.find((reading) => reading.name === `${name}_count`);
  assert.equal(count?.value, buckets.at(-1)?.value, `${name}_count is the last bucket`);
  assert.ok(
    readings.some((reading) => reading.name === `${name}_sum`),
    `${name} has a sum`,
  );
}
