import assert from "node:assert/strict";
import { copyOf, textOf, withAttrs, xml } from "../../../src/xml/element.ts";

const SAMPLE = xml(
  "message",
  { to: `a"b'c<d>&`, id: "" },
  "x<y>&'\"",
  xml("body", {}, xml("b"), ""),
  xml("c", {}, "]]>"),
);

describe("Elements", () => {
  it("are written as ltx writes them", () => {
    assert.equal(textOf(SAMPLE), SAMPLE.toString());
    assert.equal(textOf(xml("a")), "<a/>");
  });

  it("leave out what is undefined, and characters that XML cannot carry", () => {
    const built = xml("a", { b: undefined, c: "1\u0000\ud800\uffff\u{1d11e}2" }, undefined, "x\u0007\ty\udc00\n");
    assert.equal(textOf(built), '<a c="1\u{1d11e}2">x\ty\n</a>');
  });

  it("are copied in depth, without a parent", () => {
    const copy = copyOf(SAMPLE.getChild("body") ?? assert.fail());
    assert.equal(copy.parent, null);
    assert.equal(copy.toString(), "<body><b/></body>");
    assert.notEqual(copy.children[0], SAMPLE.getChild("body")?.children[0]);
  });

  it("take other attributes without changing the original", () => {
    const before = SAMPLE.toString();
    assert.equal(withAttrs(SAMPLE, { to: "z", id: undefined }).attrs.to, "z");
    assert.ok(!("id" in withAttrs(SAMPLE, { id: undefined }).attrs));
    assert.equal(SAMPLE.toString(), before);
  });
});
