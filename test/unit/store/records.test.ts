// What is read from a damaged disk: refused with its code, never a key or value made up, and never a loop.

import assert from "node:assert/strict";
import { decodeKey, encodeKey } from "../../../src/store/keys.ts";
import { decodeEntry, decodeValue } from "../../../src/store/records.ts";

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
      assert.throws(() => decodeValue(text), CORRUPT, text);
    }
    assert.deepEqual(decodeEntry(Buffer.of(2, 0x63, 0), 'K[["x",1],true]'), [["x", 1], true]);
  });
});
