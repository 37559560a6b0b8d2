// The runner of `make test`: several parts of the tests at the same time, each by a mocha of its own, because one part mostly
// computes and another one mostly waits, for servers, peers and deadlines. The output of the first part is shown as it comes, that
// of the next one after it, and the last line is about all: `N passed, N failed` (and `, N skipped`).
// Usage: side-by-side.mjs SPEC... . Parts but the first have a lower priority: what they compute is not to disturb it.

import { spawn } from "node:child_process";
import { setPriority } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const MOCHA = fileURLToPath(new URL("../../node_modules/mocha/bin/mocha.js", import.meta.url));
const REPORTER = fileURLToPath(new URL("reporter.mjs", import.meta.url));
const SUMMARY = /^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$/gm;
const LOWER = 10;
/** How long the rest of the output of a part that has ended may take. */
const REST_MS = 2_000;

const specs = process.argv.slice(2);
const parts = specs.map(start);
const total = { passed: 0, failed: 0, skipped: 0 };
let isWell = true;
for (const part of parts) {
  part.show();
  const code = await part.ended;
  const last = [...part.output.matchAll(SUMMARY)].at(-1);
  if (last === undefined) process.stdout.write(`\n${part.spec}: ended with ${code} before it had run all tests\n`);
  total.passed += Number(last?.[1] ?? 0);
  // Without a summary the tests did not even run to their end.
  total.failed += Number(last?.[2] ?? 1);
  total.skipped += Number(last?.[3] ?? 0);
  if (code !== 0) isWell = false;
}
const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : "";
process.stdout.write(`\n${total.passed} passed, ${total.failed} failed${skipped}\n`);
process.exit(isWell && total.failed === 0 ? 0 : 1);

function start(spec, index) {
  const child = spawn(process.execPath, [MOCHA, "--reporter", REPORTER, spec], { stdio: ["ignore", "pipe", "pipe"] });
  if (index > 0 && child.pid !== undefined) setPriority(child.pid, LOWER);
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => child.kill(signal));
  let isShown = false;
  const part = {
    spec,
    output: "",
    show() {
      process.stdout.write(part.output);
      isShown = true;
    },
    ended: endOf(child),
  };
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => {
      part.output += text;
      if (isShown) process.stdout.write(text);
    });
  }
  return part;
}

/** The exit code, once everything has been read; whoever outlives the part and keeps its output open is not waited for. */
async function endOf(child) {
  const closed = new Promise((resolve) => child.once("close", resolve));
  const code = await new Promise((resolve) => {
    child.once("exit", (code, signal) => resolve(code ?? signal));
    child.once("error", (error) => resolve(error.message));
  });
  await Promise.race([closed, sleep(REST_MS)]);
  return code;
}
