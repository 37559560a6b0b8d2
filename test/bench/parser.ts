// Measures the stream parser: stanzas a second in pieces of 16 KiB, as TLS delivers them, for a chat message of about
// 250 bytes and one of about 500; and saxes without building anything, for comparison.

import { SaxesParser } from "saxes";
import { Bench } from "tinybench";
import { StreamParser } from "../../src/xml/stream-parser.ts";

const HEADER =
  "<?xml version='1.0'?><stream:stream to='a.test' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
const CHAT =
  "<message to='romeo@montague.test/orchard' id='ab12cd34ef56' type='chat'><body>Art thou not Romeo, and a Montague? It is nor hand, nor foot.</body><active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/></message>";
const LONG = CHAT.replace("</body>", ` ${"Neither, fair saint, if either thee dislike. ".repeat(6)}</body>`);
const COUNT = 2000;
const LIMITS = { maxStanzaBytes: 262_144, maxDepth: 64, maxAttributes: 64 };

function pieces(stanza: string): Buffer[] {
  const all = Buffer.from(HEADER + stanza.repeat(COUNT));
  const result: Buffer[] = [];
  for (let at = 0; at < all.length; at += 16_384) result.push(all.subarray(at, at + 16_384));
  return result;
}

function parse(input: readonly Buffer[]): void {
  let count = 0;
  const nothing = (): void => undefined;
  const parser = new StreamParser(
    {
      onHeader: nothing,
      onElement: () => {
        count++;
      },
      onEndTag: nothing,
      onFault: nothing,
    },
    LIMITS,
  );
  for (const piece of input) parser.write(piece);
  if (count !== COUNT) throw new Error(`${count} stanzas of ${COUNT}`);
}

class Saxes extends SaxesParser<{ xmlns: boolean; position: false }> {
  count = 0;
  constructor(xmlns: boolean) {
    super({ xmlns, position: false });
    this.on("closetag", () => this.count++);
    this.on("text", () => undefined);
    this.on("opentag", () => undefined);
  }
}

const bench = new Bench({ time: 1500, warmupTime: 500 });
for (const [name, stanza] of [
  ["chat", CHAT],
  ["long", LONG],
] as const) {
  const input = pieces(stanza);
  const label = `${name} ${Buffer.byteLength(stanza)} B`;
  bench.add(`${label}, morendo, elements`, () => parse(input));
  for (const xmlns of [false, true]) {
    bench.add(`${label}, saxes xmlns=${xmlns}, bare events`, () => {
      const parser = new Saxes(xmlns);
      for (const piece of input) parser.write(piece.toString("utf8"));
      if (parser.count === 0) throw new Error("nothing parsed");
    });
  }
}
await bench.run();
process.stdout.write("| input | stanzas/s | us per stanza | MB/s |\n|---|---|---|---|\n");
for (const task of bench.tasks) {
  const latency = task.result && "latency" in task.result ? task.result.latency.p50 : Number.NaN;
  const us = (latency * 1000) / COUNT;
  const bytes = Number(/(\d+) B/.exec(task.name)?.[1]);
  process.stdout.write(`| ${task.name} | ${Math.round(1e6 / us)} | ${us.toFixed(2)} | ${(bytes / us).toFixed(0)} |\n`);
}
