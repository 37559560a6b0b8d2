// The reporter of `make test`: one dot per test in a line per file, then failures in full, skipped tests with their
// reasons, and as the very last line `N passed, N failed` (and `, N skipped`). With CI set, a skipped test is a failure:
// there everything is installed, so a skip means that something is not being tested. So is a rejection that nobody handles,
// which mocha alone would pass over, and what the run leaves behind.

import { relative } from "node:path";
import { endLeftBehind, markRun, watchEnd } from "./left-behind.mjs";

const SLOWEST = 5;

export default class MorendoReporter {
  #passed = 0;
  #failures = [];
  #skipped = [];
  #slow = [];
  #file = "";
  #running;
  #isCi = process.env.CI !== undefined && process.env.CI !== "" && process.env.CI !== "false";

  constructor(runner) {
    markRun();
    runner.on("test", (test) => {
      this.#running = test;
    });
    // mocha hands each on a second time.
    const seen = new Set();
    process.on("unhandledRejection", (error) => {
      if (seen.has(error)) return;
      seen.add(error);
      const title = `a rejection that nobody handles, at about: ${this.#running?.fullTitle() ?? "the start"}`;
      this.#failures.push({ title, file: this.#running?.file, error });
    });
    runner.on("pass", (test) => {
      this.#passed++;
      this.#slow.push(test);
      this.#mark(test, ".");
    });
    runner.on("fail", (test, error) => {
      this.#failures.push({ title: test.fullTitle(), file: test.file, error });
      this.#mark(test, "F");
    });
    runner.on("pending", (test) => {
      this.#skipped.push({ title: test.fullTitle(), reason: reasonOf(test) });
      this.#mark(test, "s");
    });
  }

  /** Called by mocha when everything has run; what is handed on becomes the exit code. */
  async done(failures, finish) {
    const leftBehind = await endLeftBehind();
    write("\n");
    this.#printSlowest();
    this.#printSkipped();
    for (const [index, failure] of this.#failures.entries()) printFailure(index + 1, failure);
    const skipped = this.#skipped.length;
    // mocha may count a failure that it never reported as an event.
    const failed = Math.max(failures, this.#failures.length) + (this.#isCi ? skipped : 0) + leftBehind.length;
    const nothingRan = this.#passed + failed + skipped === 0;
    if (nothingRan) write("no test was found\n");
    if (leftBehind.length > 0) write(`\nleft behind, which counts as failed:\n${leftBehind.join("\n")}\n`);
    const tail = skipped > 0 && !this.#isCi ? `, ${skipped} skipped` : "";
    write(`\n${this.#passed} passed, ${failed} failed${tail}\n`);
    watchEnd((resources) => {
      write(`\nthe tests are over, but something keeps the runner from ending: ${resources.join(", ")}\n`);
      write(`\n${this.#passed} passed, ${failed + 1} failed${tail}\n`);
      // After mocha's own listener, which would make it what it was before.
      process.on("exit", () => {
        process.exitCode = 1;
      });
      process.exit();
    });
    finish(nothingRan ? 1 : failed);
  }

  #mark(test, sign) {
    const file = test.file ?? test.parent?.file ?? "";
    if (file !== this.#file) {
      this.#file = file;
      write(`\n${relative(process.cwd(), file)} `);
    }
    write(sign);
  }

  #printSlowest() {
    const slowest = this.#slow.toSorted((a, b) => (b.duration ?? 0) - (a.duration ?? 0)).slice(0, SLOWEST);
    write("\nslowest:\n");
    for (const test of slowest) write(`  ${String(test.duration ?? 0).padStart(6)} ms  ${test.fullTitle()}\n`);
  }

  #printSkipped() {
    if (this.#skipped.length === 0) return;
    write(this.#isCi ? "\nskipped, which counts as failed in CI:\n" : "\nskipped:\n");
    for (const [reason, tests] of groupByReason(this.#skipped)) {
      write(`  ${reason}:\n`);
      for (const { title } of tests) write(`    ${title}\n`);
    }
  }
}

function groupByReason(skipped) {
  const groups = new Map();
  for (const entry of skipped) groups.set(entry.reason, [...(groups.get(entry.reason) ?? []), entry]);
  return groups;
}

/** The reason that test/support/skip.ts left at the test or at a suite around it. */
function reasonOf(test) {
  for (let place = test; place; place = place.parent) {
    if (place.skipReason !== undefined) return place.skipReason;
  }
  return "no reason given";
}

function printFailure(number, { title, file, error }) {
  write(`\n${number}) ${title}\n   ${file === undefined ? "" : relative(process.cwd(), file)}\n`);
  write(`${describe(error).replace(/^/gm, "   ")}\n`);
}

/** The whole error with what caused it; a difference of values is in an assertion's own message. */
function describe(error, depth = 0) {
  if (error === null || typeof error !== "object") return String(error);
  const text = error.stack ?? error.message ?? String(error);
  const whole = text.includes(error.message ?? "") ? text : `${error.message}\n${text}`;
  const parts = [whole];
  if (Array.isArray(error.errors)) parts.push(...error.errors.map((inner) => describe(inner, depth + 1)));
  if (error.cause !== undefined && depth < 5) parts.push(`caused by: ${describe(error.cause, depth + 1)}`);
  return parts.join("\n");
}

function write(text) {
  process.stdout.write(text);
}
