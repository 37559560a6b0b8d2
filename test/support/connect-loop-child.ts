// Connects to a listener again and again and checks that each connection gets the greeting and a reply. Arguments: host,
// port. Prints `good` for each that did. Ends, with one line of JSON, when its standard input does.

import { connect } from "node:net";
import { codeOf } from "../../src/util/errors.ts";

const [host = "", port = "0"] = process.argv.slice(2);
const faults: Record<string, number> = {};
const processes = new Set<string>();
let good = 0;
let isOver = false;

process.stdin.resume().once("end", () => {
  isOver = true;
});
setTimeout(() => process.exit(99), 120_000).unref();

function once(): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    const socket = connect({ host, port: Number(port) });
    socket.setEncoding("utf8");
    socket.on("data", (chunk: string) => {
      if (text === "") socket.write("ping\n");
      text += chunk;
    });
    socket.on("error", reject);
    socket.on("end", () => resolve(text));
  });
}

while (!isOver) {
  try {
    const text = await once();
    const match = /^hello\n(\d+ \d+) \d+ ping\n$/.exec(text);
    if (match?.[1] === undefined) throw new Error(`incomplete: ${JSON.stringify(text)}`);
    processes.add(match[1]);
    good++;
    process.stdout.write("good\n");
  } catch (thrown) {
    const name = codeOf(thrown) ?? String(thrown);
    faults[name] = (faults[name] ?? 0) + 1;
  }
}
process.stdout.write(`${JSON.stringify({ good, faults, processes: processes.size })}\n`);
