// Sessions as they come from the store or a predecessor, and the counters of XEP-0198: a snapshot is used or refused with
// one code, what is used says the same when it is written again, and no `h` proves more than was sent.

import assert from "node:assert/strict";
import { readSnapshot } from "../../../src/server/c2s/session-snapshot.ts";
import { isDamaged, readRecord, recordValue, stanzaOf } from "../../../src/server/s2s/journal-records.ts";
import type { Key, Value } from "../../../src/store/store.ts";
import { AckWindow, parseH } from "../../../src/stream/acks.ts";
import { codeOf } from "../../../src/util/errors.ts";
import type { Target } from "../harness/target.ts";

const SNAPSHOT = {
  smId: "x",
  jid: "romeo@a.test/balcony",
  created: 1,
  maxMs: 600_000,
  handled: 7,
  sent: 3,
  unacked: [{ xml: "<message from='juliet@a.test/1' to='romeo@a.test/balcony'><body>1</body></message>", at: 1 }],
  presence: "<presence from='romeo@a.test/balcony'/>",
  hibernatedSince: 5,
  outage: "silent",
};

/** Session snapshots. */
export const sessionState: Target = {
  name: "session-state",
  seeds: [
    JSON.stringify(SNAPSHOT),
    JSON.stringify({ ...SNAPSHOT, presence: undefined, outage: "told", unacked: [] }),
    JSON.stringify({ ...SNAPSHOT, handled: 4294967295, sent: 2 ** 40 }),
  ],
  words: [
    '"smId":',
    '"jid":',
    '"sent":',
    '"unacked":',
    '"handled":',
    "[",
    "]",
    "{",
    "}",
    ",",
    '""',
    "null",
    "-1",
    "1e308",
    "9007199254740993",
    "<presence ",
    "type='unavailable'",
    "romeo@a.test/balcony",
    "juliet@a.test",
    "<message/>",
    "</message>",
    '"outage":"told"',
    '"__proto__":{}',
  ],
  run(input) {
    let data: unknown;
    try {
      data = JSON.parse(input.toString());
    } catch {
      return;
    }
    try {
      const { jid, sm, presence } = readSnapshot(data);
      assert.ok(jid.isFull && jid.local !== "");
      assert.ok(sm.pending <= sm.sent && sm.proved === sm.sent - sm.pending);
      for (const { text } of sm.unacked()) assert.equal(typeof text, "string");
      assert.ok(presence === undefined || presence.from.equals(jid));
    } catch (thrown) {
      assert.equal(codeOf(thrown), "MORENDO_SESSION_STATE");
    }
  },
};

/** Acknowledgements against a plain model of them: one number a line is an `h`, `+` is something sent. */
export const acks: Target = {
  name: "acks",
  seeds: ["+\n+\n1\n+\n3\n", "0\n1\n", "@4294967295\n+\n+\n0\n1\n", `@4294967290\n${"+\n".repeat(20)}5\n3\n`],
  words: [
    "+\n",
    "\n",
    "0",
    "1",
    "2",
    "4294967295",
    "4294967296",
    "-1",
    "@",
    "+\n".repeat(1_100),
    "1024\n",
    "1.5",
    " 1",
    "1e1",
  ],
  run(input) {
    const lines = input.toString("latin1").split("\n");
    const first = /^@(\d{1,10})$/.exec(lines[0] ?? "")?.[1];
    let proved = first === undefined ? 0 : Number(first);
    const window = new AckWindow<number>(proved);
    let sent = proved;
    for (const line of lines) {
      if (line === "+") {
        window.add(sent++);
        continue;
      }
      const h = parseH(line);
      if (h === undefined) continue;
      const taken: number[] = [];
      // The model: the least count not below what is proved that is `h` modulo 2^32.
      const meant = proved + ((((h - proved) % 2 ** 32) + 2 ** 32) % 2 ** 32);
      const isRight = meant <= sent;
      assert.equal(
        window.acknowledge(h, (item) => taken.push(item)),
        isRight,
      );
      if (isRight) {
        assert.deepEqual(
          taken,
          Array.from({ length: meant - proved }, (_, index) => proved + index),
        );
        proved = meant;
      } else assert.deepEqual(taken, []);
      assert.deepEqual([window.sent, window.proved, window.pending], [sent, proved, sent - proved]);
    }
  },
};

/** Records of the journal for other servers: the key in JSON, a line, the value in JSON. */
export const journal: Target = {
  name: "journal",
  seeds: [
    `["b.test","a.test",1,2]\n${JSON.stringify(recordValue({ remote: "b.test", local: "a.test", epoch: 1, seq: 2 }, { at: 1, until: 2 }, "<message from='x@a.test' to='y@b.test' id='1'/>"))}`,
    '["b.test","a.test",1,-2]\n{}',
  ],
  words: [
    "[",
    "]",
    ",",
    '"b.test"',
    '"a.test"',
    "null",
    "1e99",
    '"v":1',
    '"v":2',
    '"sum":',
    '"xml":""',
    '"at":-1',
    '"until":',
    "to='z@b.test'",
    "from='x@evil.test'",
  ],
  run(input) {
    const [keyText = "", ...rest] = input.toString().split("\n");
    let key: unknown;
    let value: Value;
    try {
      key = JSON.parse(keyText);
      value = JSON.parse(rest.join("\n")) as Value;
    } catch {
      return;
    }
    if (!Array.isArray(key) || !key.every((part) => typeof part === "string" || typeof part === "number")) return;
    const record = readRecord(key as Key, value);
    if (isDamaged(record)) {
      assert.notEqual(record.why, "");
      return;
    }
    const again = recordValue(record, record, record.xml) as object;
    assert.deepEqual({ ...(value as object), ...again }, value, "another record when it is written again");
    const stanza = stanzaOf(record);
    if (stanza !== undefined) assert.deepEqual([stanza.from.domain, stanza.to?.domain], [record.local, record.remote]);
  },
};
