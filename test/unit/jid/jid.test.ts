import { deepEqual, equal, ok } from "node:assert/strict";
import fc from "fast-check";
import { Jid, prepareDomainpart, prepareLocalpart, prepareResourcepart } from "../../../src/jid/jid.ts";

const text = (input: string): string | undefined => Jid.parse(input)?.toString();

/** Inputs and what they become; undefined: refused. Examples of RFC 7622 §3.5 first. */
const CASES: readonly (readonly [string, string | undefined])[] = [
  ["juliet@example.com", "juliet@example.com"],
  ["juliet@example.com/foo", "juliet@example.com/foo"],
  ["juliet@example.com/foo bar", "juliet@example.com/foo bar"],
  ["juliet@example.com/foo@bar", "juliet@example.com/foo@bar"],
  ["foo\\20bar@example.com", "foo\\20bar@example.com"],
  ["fussball@example.com", "fussball@example.com"],
  ["fu\u00DFball@example.com", "fu\u00DFball@example.com"],
  ["\u03C0@example.com", "\u03C0@example.com"],
  ["\u03A3@example.com/foo", "\u03C3@example.com/foo"],
  ["\u03C3@example.com/foo", "\u03C3@example.com/foo"],
  ["\u03C2@example.com/foo", "\u03C2@example.com/foo"],
  ["king@example.com/\u265A", "king@example.com/\u265A"],
  ["example.com", "example.com"],
  ["example.com/foobar", "example.com/foobar"],
  ["a.example.com/b@example.net", "a.example.com/b@example.net"],
  ['"juliet"@example.com', undefined],
  ["foo bar@example.com", undefined],
  ["@example.com/", undefined],
  ["@example.com", undefined],
  ["juliet@", undefined],
  ["henry\u2163@example.com", undefined],
  ["\u265A@example.com", undefined],
  ["juliet@example.com/", undefined],
  ["/foobar", undefined],
  ["", undefined],
  // Case, width, composition.
  ["JULIET@EXAMPLE.com/Balcony", "juliet@example.com/Balcony"],
  ["\uFF2Auliet@example.com", "juliet@example.com"],
  ["e\u0301@example.com", "\u00E9@example.com"],
  ["\uFB01@example.com", undefined],
  ["a@b@c", undefined],
  ["a\u200Bb@example.com", undefined],
  ["a\uFF20b@example.com", undefined],
  ["a:b@example.com", undefined],
  ["a\uD800@example.com", undefined],
  ["a@example.com/\uD800", undefined],
  // Resources keep their case; spaces of other scripts become the plain one.
  ["a@b.c/x\u3000y", "a@b.c/x y"],
  ["a@b.c/\uFB01", "a@b.c/\uFB01"],
  ["a@b.c/x\ty", undefined],
  ["a@b.c/x\u00ADy", undefined],
  ["a@b.c/\u{1F600}", "a@b.c/\u{1F600}"],
  // Domains.
  ["B\u00DCCHER.example", "b\u00FCcher.example"],
  ["xn--bcher-kva.example", "b\u00FCcher.example"],
  ["XN--BCHER-KVA.example", "b\u00FCcher.example"],
  ["example.com.", "example.com"],
  ["a\u3002example", "a.example"],
  ["xn--zzzz1", undefined],
  ["xn--", undefined],
  ["\u2665.example", undefined],
  ["xn--g6h.example", undefined],
  ["a..b", undefined],
  [".", undefined],
  ["-a.example", undefined],
  ["a-.example", undefined],
  ["exa mple.org", undefined],
  ["exa%41mple.org", undefined],
  ["b\u00FC\tcher.example", undefined],
  ["b\u00FCcher.example:5222", undefined],
  ["b\u00FCcher.example?x", undefined],
  [`${"a".repeat(64)}.example`, undefined],
  ["127.0.0.1", "127.0.0.1"],
  ["a@[::1]/r", "a@[::1]/r"],
  ["a@[0:0:0:0:0:0:0:1]", "a@[::1]"],
  ["[::1%eth0]", undefined],
  ["[::1", undefined],
  ["[zz]", undefined],
  ["::1", undefined],
  // The bidi rule: Hebrew alone, Hebrew and a digit; mixed with Latin, beginning with a digit, two kinds of digits.
  ["\u05D0\u05D1@example.com", "\u05D0\u05D1@example.com"],
  ["\u05D0\u05D11@example.com", "\u05D0\u05D11@example.com"],
  ["\u05D0a@example.com", undefined],
  ["a\u05D0@example.com", undefined],
  ["1\u05D0@example.com", undefined],
  ["\u06271\u0661@example.com", undefined],
  ["\u0627-@example.com", undefined],
  // Contexts of RFC 5892: middle dot, Katakana dot, joiner after a virama.
  ["l\u00B7l@example.com", "l\u00B7l@example.com"],
  ["a\u00B7b@example.com", undefined],
  ["\u30A2\u30FB\u30A2@example.com", "\u30A2\u30FB\u30A2@example.com"],
  ["a\u30FBb@example.com", undefined],
  ["\u0915\u094D\u200D\u0937@example.com", "\u0915\u094D\u200D\u0937@example.com"],
  ["a\u200Db@example.com", undefined],
];

describe("an address", () => {
  for (const [input, expected] of CASES) {
    it(`${JSON.stringify(input.slice(0, 40))} ${expected === undefined ? "is refused" : `becomes ${JSON.stringify(expected)}`}`, () => {
      equal(text(input), expected);
      equal(text(input), expected, "and the same again from the cache");
    });
  }

  it("has its parts", () => {
    const jid = Jid.parse("Romeo@Montague.example/Orchard/1");
    deepEqual([jid?.local, jid?.domain, jid?.resource], ["romeo", "montague.example", "Orchard/1"]);
    equal(jid?.isFull, true);
    equal(jid?.bare.toString(), "romeo@montague.example");
    equal(jid?.bare.isFull, false);
    equal(jid?.bare.bare, jid?.bare);
    ok(jid?.equals(Jid.of("romeo", "montague.example", "Orchard/1")));
    ok(!jid?.equals(jid.bare));
    ok(!jid?.equals(undefined));
    equal(jid?.withResource("x").toString(), "romeo@montague.example/x");
  });

  it("may have 1023 bytes in each part and not one more", () => {
    const name = (length: number): string => "\u00E9".repeat(Math.floor(length / 2)) + "a".repeat(length % 2);
    ok(Jid.parse(`${name(1023)}@a.example/${name(1023)}`));
    equal(Jid.parse(`${name(1024)}@a.example`), undefined);
    equal(Jid.parse(`a@a.example/${name(1024)}`), undefined);
    const label = "a".repeat(63);
    const longest = Array(16).fill(label).join(".");
    equal(longest.length, 1023);
    ok(Jid.parse(longest));
    equal(Jid.parse(`${longest}.a`), undefined);
  });

  it("is measured after preparation", () => {
    ok(Jid.parse(`${"e\u0301".repeat(511)}@a.example`), "1533 bytes before, 1022 after");
    equal(Jid.parse("a".repeat(20_000)), undefined);
  });

  it("stays the same when it is parsed again", () => {
    const anything = fc.oneof(
      fc.string({ unit: "binary", maxLength: 8 }),
      fc.string({ unit: "grapheme", maxLength: 8 }),
    );
    const address = fc.oneof(
      anything,
      fc.tuple(anything, anything, anything).map(([local, domain, resource]) => `${local}@${domain}/${resource}`),
      anything.map((local) => `${local}@a.example`),
      anything.map((domain) => `a@${domain}.example`),
      anything.map((resource) => `a.example/${resource}`),
    );
    fc.assert(
      fc.property(address, (input) => {
        const first = Jid.parse(input);
        if (first === undefined) return;
        const again = Jid.parse(first.toString());
        equal(again?.toString(), first.toString());
        deepEqual([again?.local, again?.domain, again?.resource], [first.local, first.domain, first.resource]);
      }),
      { numRuns: 5000 },
    );
  });

  it("stays the same for every single character", () => {
    for (let code = 0x80; code < 0x30000; code++) {
      if (code >= 0xd800 && code < 0xe000) continue;
      const character = String.fromCodePoint(code);
      for (const prepare of [prepareLocalpart, prepareResourcepart]) {
        const once = prepare(character);
        if (once !== undefined) equal(prepare(once), once, `U+${code.toString(16)}`);
      }
    }
  });

  it("prepares parts that stand alone", () => {
    equal(prepareLocalpart("ROMEO"), "romeo");
    equal(prepareLocalpart("ro meo"), undefined);
    equal(prepareLocalpart(""), undefined);
    equal(prepareResourcepart("Orchard"), "Orchard");
    equal(prepareResourcepart(""), undefined);
    equal(prepareDomainpart("Example.ORG"), "example.org");
    equal(prepareDomainpart(""), undefined);
  });

  it("takes no time that grows with the square of what a peer writes", () => {
    // Each of these took seconds once; mocha's time limit is the judge.
    const many = (text: string): string => text.repeat(12_000);
    for (let round = 0; round < 20; round++) {
      const addresses = [
        `${many("・")}字${round}@a.example`,
        `a.example/${many("٣")}${round}`,
        `${many("۳")}${round}@a.example`,
      ];
      for (const address of addresses) equal(Jid.parse(address), undefined);
      equal(prepareResourcepart(`${"・".repeat(3_000)}字${round}`), undefined);
    }
  });

  it("is not given up for what is only long before its preparation", () => {
    const composed = "ǖ".repeat(511);
    equal(prepareResourcepart(composed.normalize("NFD")), composed);
    equal(prepareLocalpart("ａ".repeat(1_023)), "a".repeat(1_023));
    equal(prepareLocalpart("ａ".repeat(1_024)), undefined);
  });
});
