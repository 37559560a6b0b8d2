import assert from "node:assert/strict";
import { Utf8Decoder } from "../../../src/xml/utf8.ts";

describe("Utf8Decoder", () => {
  it("keeps a character that is cut until its rest comes", () => {
    const decoder = new Utf8Decoder();
    let text = "";
    for (const byte of Buffer.from("aäß€𝄞z")) text += decoder.write(Buffer.from([byte]));
    assert.equal(text, "aäß€𝄞z");
    assert.equal(decoder.invalid, false);
  });

  it("returns what came before the first byte that is not UTF-8", () => {
    for (const bad of [
      [0xff],
      [0xc0, 0x80],
      [0xe0, 0x80, 0x80],
      [0xed, 0xa0, 0x80],
      [0xf5, 0x80],
      [0xc3, 0x28],
      [0x80],
    ]) {
      const decoder = new Utf8Decoder();
      assert.equal(decoder.write(Buffer.from([0x61, 0xc3, 0xa4, ...bad, 0x62])), "aä", bad.join());
      assert.equal(decoder.invalid, true);
    }
  });

  it("does not hold on to the caller's buffer", () => {
    const decoder = new Utf8Decoder();
    const chunk = Buffer.from([0xe2, 0x82]);
    decoder.write(chunk);
    chunk.fill(0);
    assert.equal(decoder.write(Buffer.from([0xac])), "€");
  });
});
