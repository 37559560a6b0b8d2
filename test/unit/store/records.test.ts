// What is read from a damaged disk: refused with its code, never a key or value made up, and never a loop.

import assert from "node:assert/strict";
import { decodeKey, encodeKey } from "../../../src/store/keys.ts";
import { decodeEntry, decodeValue, encodeRecord } from "../../../src/store/records.ts";

const PLACE = Buffer.of(2, 0x63, 0);
const CORRUPT = { code: "MORENDO_STORE_CORRUPT" };

describe("A damaged record", () => {
  it("is refused when its key has no end, an unknown part, half a number or no text", () => {
    const sound = encodeKey("c", ["romeo", 7]).bytes;
    assert.deepEqual(decodeKey(sound), ["romeo", 7]);
    for (const damaged of [
      sound.subarray(0, 5),
      sound.subarray(0, -1),
      Buffer.concat([sound, Buffer.of(9)]),
      Buffer.concat([sound, Buffer.of(2, 0x61, 0, 0xff)]),
      Buffer.concat([sound, Buffer.of(2, 0xc3, 0)]),
      Buffer.concat([sound, Buffer.of(1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)]),
    ]) {
      assert.throws(() => decodeKey(damaged), CORRUPT, damaged.toString("hex"));
    }
  });

  it("is refused when its value is not JSON, or the key in it is none", () => {
    for (const text of ["", "{", "K", "K7", 'K["x",1]', 'K[["x"]]', "K[[{}],1]"]) {
      assert.throws(() => decodeValue(PLACE, text), CORRUPT, text);
    }
  });

  it("is refused when a single bit of it or of its key has changed", () => {
    const encoded = encodeKey("c", ["romeo"]);
    const record = Buffer.from(encodeRecord(["romeo"], encoded, { text: "wherefore" }));
    assert.deepEqual(decodeValue(encoded.bytes, record.toString()), { text: "wherefore" });
    for (const [what, bytes] of [
      ["value", record],
      ["key", encoded.bytes],
    ] as const) {
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        const copy = Buffer.from(bytes);
        copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        const [key, text] = what === "key" ? [copy, record.toString()] : [encoded.bytes, copy.toString()];
        assert.throws(() => decodeEntry(key, text), CORRUPT, `bit ${bit} of the ${what}`);
      }
    }
  });

  it("is no record of an earlier version, which has no checksum", () => {
    assert.deepEqual(decodeEntry(PLACE, "[1]"), [[], [1]]);
    assert.deepEqual(decodeEntry(PLACE, 'K[["x",1],true]'), [["x", 1], true]);
  });
});
