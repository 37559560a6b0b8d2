// Other servers that stall, reset, talk nonsense, lie about what they have and vanish, at every step of a stream, while the
// server runs and while it goes down: it ends in time, every stanza has one fate, only what arrived is called proved, and
// a good server beside the bad one gets everything.

import assert from "node:assert/strict";
import offline from "../../modules/offline/index.ts";
import ping from "../../modules/ping/index.ts";
import presence from "../../modules/presence/index.ts";
import roster from "../../modules/roster/index.ts";
import type { DrainReport } from "../../src/shutdown/report.ts";
import type { Abilities, PeerConnection } from "../../src/testing/peer/connection.ts";
import type { Act, Script, Step } from "../../src/testing/peer/script.ts";
import { attributeOf, type RawClient } from "../../src/testing/raw-client.ts";
import type { ScriptedPeer } from "../../src/testing/scripted-peer.ts";
import type { Clock } from "../../src/util/clock.ts";
import { NS } from "../../src/xml/ns.ts";
import { MemoryLives } from "../support/memory-lives.ts";

const COUNT = 12;
const ALL = Array.from({ length: COUNT }, (_, number) => number);
const DEADLINE_MS = 25_000;
const GARBAGE = "\0<<<&&& </stream:stream> \u{ffff}";
const HEADER = `<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='${NS.streams}' id='slow' version='1.0'>`;

const STEPS: readonly Step[] = [
  "accept",
  "header",
  "features",
  "dialback",
  "verify",
  "enable",
  "stanza",
  "ack",
  "pong",
  "closing",
  "end",
];
const ACTS: Readonly<Record<string, Act>> = {
  "says nothing": "ignore",
  "stops reading": "stop-reading",
  resets: "reset",
  "ends without a closing tag": "half-close",
  "closes first": "close",
  "talks nonsense": { say: GARBAGE },
};

interface Case {
  readonly what: string;
  readonly script: (lives: MemoryLives) => Script;
  readonly abilities?: Partial<Abilities>;
  /** It throws away what it calls read: nobody can know. */
  readonly isLiar?: boolean;
  /** It acknowledges more than it was sent, and is told so. */
  readonly saysTooMuch?: boolean;
  /** What it does beside. */
  readonly also?: (peer: ScriptedPeer) => void;
}

const scripted = (what: string, script: Script): Case => ({ what, script: () => script });
const alsoSays =
  (text: string): Act =>
  (connection) => {
    connection.send(text);
    return "ordinary";
  };

const CASES: readonly Case[] = [
  ...STEPS.flatMap((step) =>
    Object.entries(ACTS).map(([what, act]) => ({
      ...scripted(`${what} at ${step}`, { [step]: { act, on: "in" } }),
      isLiar: step === "stanza",
    })),
  ),
  ...STEPS.map((step) => scripted(`resets once at ${step}`, { [step]: { act: "reset", on: "in", times: 1 } })),
  {
    ...scripted("acknowledges one more than it was sent", { ack: { h: (handled) => handled + 1 } }),
    saysTooMuch: true,
  },
  { ...scripted("acknowledges four thousand million", { ack: { h: 4_294_967_295 } }), saysTooMuch: true },
  scripted("acknowledges nothing for ever", { ack: { h: 0 } }),
  scripted("acknowledges less than before", { ack: { skip: 1, h: (handled) => Math.max(0, handled - 3) } }),
  scripted("acknowledges twice", { ack: alsoSays(`<a xmlns='${NS.sm}' h='1'/>`) }),
  scripted("acknowledges what nobody asked about", { stanza: alsoSays(`<a xmlns='${NS.sm}' h='0'/>`) }),
  {
    ...scripted("answers pings that nobody sent", { ack: "ignore", closing: "ignore" }),
    also: (peer) => void peer.send("<iq type='result' id='none' from='bad.test' to='a.test'/>"),
  },
  { ...scripted("refuses every ping", { pong: "refuse" }), abilities: { sm: false } },
  { ...scripted("answers no ping", { pong: "ignore" }), abilities: { sm: false } },
  scripted("refuses to count", { enable: "refuse" }),
  scripted("does not believe our key", { dialback: { act: "refuse", on: "in" } }),
  {
    what: "sends a byte a second",
    script: ({ clock }) => ({ header: { act: (connection) => bytewise(connection, clock), on: "in" } }),
  },
];

function bytewise(connection: PeerConnection, clock: Clock): undefined {
  let at = 0;
  const next = (): void => {
    connection.send(HEADER[at++] ?? " ");
    if (!connection.over) clock.setTimer(1_000, next);
  };
  next();
  return undefined;
}

/** When the stop begins, in milliseconds after the last message: at once, amid it all, when all is quiet. */
const MOMENTS = [0, 60_000, 40];

describe("Beside a server that", function () {
  this.timeout(30_000);
  let lives: MemoryLives;

  afterEach(() => lives.end());

  for (const [index, each] of CASES.entries()) {
    it(`${each.what}, every stanza has one fate, and a good server gets all of its own`, async () => {
      // The many cases of the table have one moment each; all of them with FAULTS=all.
      const one = MOMENTS[index % MOMENTS.length] ?? 0;
      const isOfTable = index < STEPS.length * Object.keys(ACTS).length && process.env.FAULTS !== "all";
      for (const moment of isOfTable ? [one] : MOMENTS) {
        lives = new MemoryLives(
          { s2s: { require_tls: false } },
          { accounts: ["romeo"], modules: [roster, presence, offline, ping] },
        );
        const bad = await lives.peer({
          domain: "bad.test",
          script: each.script(lives),
          ...(each.abilities && { abilities: each.abilities }),
        });
        const good = await lives.peer({ domain: "good.test" });
        await lives.start();
        const romeo = lives.client({ username: "romeo", resource: "1" });
        await lives.pass(romeo.login());
        each.also?.(bad);
        for (const number of ALL) {
          for (const domain of ["bad.test", "good.test"]) {
            romeo.send(`<message to='x@${domain}' id='${domain}-${number}' type='chat'><body>hear me</body></message>`);
          }
          if (number % 4 === 3) await lives.clock.advance(moment === 0 ? 0 : 500);
        }
        await lives.clock.advance(moment);
        const report = await lives.pass(lives.server.stop(), 10);
        assert.ok(report.durationMs <= DEADLINE_MS, `it took ${report.durationMs} ms`);
        if (each.saysTooMuch === true) assert.ok(wasToldOfItsCount(bad), "it was not told what is wrong");
        const returned = returnedTo(romeo);
        judgeStop({ report, returned, isLiar: each.isLiar === true }, bad, good);
        // The other server comes to its senses, and whatever was kept for it goes out at the next start.
        for (const step of STEPS) bad.when(step, "ordinary");
        await lives.start();
        const again = lives.client({ username: "romeo", resource: "1" });
        await lives.pass(again.login());
        const lost = lostNames(report);
        const open = (): string[] => {
          const settled = new Set([...idsOf(bad), ...returned, ...returnedTo(again), ...lost]);
          return ALL.map((number) => `bad.test-${number}`).filter((id) => !settled.has(id));
        };
        // What a liar has thrown away has its fate as far as anybody can tell.
        if (each.isLiar === true) {
          await lives.end();
          continue;
        }
        await lives.until(
          () => open().length === 0,
          () => `a fate for ${open().join()} ${JSON.stringify(report.obligations)}`,
        );
        await lives.end();
      }
    });
  }
});

interface Outcome {
  readonly report: DrainReport;
  readonly returned: readonly string[];
  readonly isLiar: boolean;
}

function judgeStop({ report, returned, isLiar }: Outcome, bad: ScriptedPeer, good: ScriptedPeer): void {
  const { run, running, destinations } = report.obligations;
  const told = JSON.stringify(report.obligations);
  assert.equal(new Set(idsOf(good)).size, COUNT, "the good server lacks some");
  assert.equal(idsOf(good).length, COUNT, "the good server got some twice");
  assert.equal(destinations.find(({ destination }) => destination === "good.test")?.lost ?? 0, 0, told);
  const proved = run.proved + running.proved - COUNT;
  assert.ok(isLiar || proved <= new Set(idsOf(bad)).size, `called proved what never arrived: ${told}`);
  assert.equal(new Set(returned).size, returned.length, "returned twice");
  assert.ok(
    returned.every((id) => id.startsWith("bad.test")),
    `returned what had arrived: ${returned.join()}`,
  );
}

/** Whether it got the error that names a count that is too high (XEP-0198 §4). */
function wasToldOfItsCount(peer: ScriptedPeer): boolean {
  return peer.seen.some(({ element }) => element?.getChild("handled-count-too-high", NS.sm) !== undefined);
}

function idsOf(peer: ScriptedPeer): string[] {
  return peer.stanzas.filter(({ name }) => name === "message").map(({ attrs }) => attrs.id ?? "");
}

function returnedTo(client: RawClient): string[] {
  return client.received.flatMap(({ xml }) =>
    /^<message[^>]*type=.error/.test(xml) ? [attributeOf(xml, "id") ?? ""] : [],
  );
}

function lostNames({ obligations }: DrainReport): string[] {
  return obligations.destinations.flatMap(({ lostNames }) =>
    lostNames.map((name) => / id=(\S+)$/.exec(name)?.[1] ?? name),
  );
}
