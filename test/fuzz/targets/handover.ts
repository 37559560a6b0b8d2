// Both ends of the channel of a restart: whatever the other end says, a step either succeeds or fails with a code of the
// handover, and never with part of the state.

import assert from "node:assert/strict";
import { Duplex } from "node:stream";
import { activatedListeners } from "../../../src/handover/activation.ts";
import { Channel, type Incoming } from "../../../src/handover/channel.ts";
import { Inheritance } from "../../../src/handover/inheritance.ts";
import { type FromSuccessor, readFromSuccessor } from "../../../src/handover/protocol.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { asError, codeOf } from "../../../src/util/errors.ts";
import { cut, type Target } from "../harness/target.ts";

const ONE = '{"type":"item","value":{"a":1}}\n';
const STATE = `{"type":"state","sections":1}\n{"type":"section","name":"s","version":1}\n${ONE}{"type":"section-end","count":1,"sha256":"59fb6f1dcee3ee04a97db50c7a5d3d61ad0f7ee9a7c6c6f4ffa0d0a4d0a4b2c1"}\n{"type":"state-end","items":1}\n`;

/** What a predecessor and a successor say to each other. */
export const handover: Target = {
  name: "handover",
  seeds: [
    STATE,
    `${STATE}{"type":"commit"}\n{"type":"yours"}\n{"type":"relay","id":1,"value":"x"}\n`,
    '{"type":"abort","why":"changed my mind"}\n',
    '{"type":"hello","protocol":1,"pid":7,"sections":{"s":{"versions":[1,2],"required":true}}}\n{"type":"prepared","items":1}\n{"type":"serving"}\n',
    '{"type":"failed","why":"no","stderr":"x"}\n{"type":"taken","id":1,"why":"full"}\n',
    "LISTEN_FDS=2 LISTEN_FDNAMES=a:b",
  ],
  words: [
    "\n",
    '{"type":',
    '"item"',
    '"value":',
    '"section"',
    '"sections":',
    '"name":"s"',
    '"version":',
    '"count":',
    '"sha256":',
    '"state-end"',
    '"commit"',
    '"abort"',
    '"why":',
    '"relay"',
    '"id":',
    "{}",
    "[]",
    "null",
    "1e9",
    "-1",
    '"__proto__"',
    '"constructor"',
    Buffer.of(0xff, 0xfe),
    ONE,
    STATE,
  ],
  async run(input, random) {
    const received: string[] = [];
    let channel = new Channel<FromSuccessor>(streamOf(cut(input, random)), readFromSuccessor);
    for (;;) {
      const incoming: Incoming<FromSuccessor> = await channel.receive();
      received.push(incoming.kind === "message" ? JSON.stringify(incoming.message) : incoming.kind);
      if (incoming.kind !== "message") break;
    }
    channel = new Channel<FromSuccessor>(streamOf([input]), readFromSuccessor);
    for (const expected of received) {
      const incoming = await channel.receive();
      assert.equal(
        incoming.kind === "message" ? JSON.stringify(incoming.message) : incoming.kind,
        expected,
        "other messages when cut",
      );
    }
    await asSuccessor(cut(input, random));
    listeners(input.toString());
  },
};

async function asSuccessor(pieces: readonly Buffer[]): Promise<void> {
  const inherited = new Inheritance({
    channel: streamOf(pieces),
    clock: new ManualClock(),
    listeners: [],
    predecessor: 1,
  });
  let items = 0;
  try {
    const state = await inherited.receiveState({ s: { versions: [1], read: () => items++ } });
    if (state.complete) assert.ok((state.sections.s?.items.length ?? 0) === items, "part of the state");
    await inherited.prepared();
    await inherited.serving();
  } catch (thrown) {
    assert.match(codeOf(thrown) ?? asError(thrown).message, /^MORENDO_HANDOVER_(STATE|PROTOCOL|ABORTED|TIMEOUT|GONE)$/);
  }
}

function listeners(text: string): void {
  const [LISTEN_FDS, LISTEN_FDNAMES] = text.split(/LISTEN_FDS=| LISTEN_FDNAMES=/).slice(1);
  if (LISTEN_FDS === undefined) return;
  try {
    activatedListeners({ LISTEN_PID: "1", LISTEN_FDS, LISTEN_FDNAMES }, 1);
  } catch (thrown) {
    assert.equal(codeOf(thrown), "MORENDO_HANDOVER_ENVIRONMENT");
  }
}

/** A channel on which `pieces` come, and then the end. */
function streamOf(pieces: readonly Buffer[]): Duplex {
  const left = [...pieces];
  return new Duplex({
    read() {
      this.push(left.shift() ?? null);
    },
    write(_chunk, _encoding, done) {
      done();
    },
  });
}
