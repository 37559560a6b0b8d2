// Addresses: what is prepared stays as it is when it is prepared again, within its bounds, and its parts are its own.

import assert from "node:assert/strict";
import { Jid, prepareDomainpart, prepareLocalpart, prepareResourcepart } from "../../../src/jid/jid.ts";
import type { Target } from "../harness/target.ts";

/** XMPP addresses and their parts. */
export const jid: Target = {
  name: "jid",
  seeds: [
    "romeo@a.test/balcony",
    "a.test",
    "[::1]",
    "127.0.0.1",
    "JULIET@Ä.test/ß ",
    "a@xn--4ca.test",
    "ﬀ@a",
    "ｒ@a",
    "α·@שלום.test/١",
    "a@b/c@d/e",
    "क्‍ष@a",
    "@",
    "a@.",
    "",
  ],
  words: [
    "@",
    "/",
    ".",
    "xn--",
    "[",
    "]",
    "%",
    "。",
    "ß",
    "ς",
    "İ",
    "ı",
    "\u0301",
    "\u200c",
    "\u200d",
    "\u094d",
    "·",
    "l·l",
    "א",
    "ا",
    "1",
    "٣",
    "۳",
    "\u00ad",
    "\ufe0f",
    "Å",
    "ǆ",
    "ﬁ",
    "㎏",
    "ﾊ",
    "\ud83d\ude00",
    "\u0000",
    "\u007f",
    "\u3000",
    "\uffff",
    "-",
    "_",
    "xn--a",
    "xn--ls8h",
    "::",
    "ẞ",
    "\u1e9e",
    "K",
    "\u0345",
    "\u1fb3",
  ],
  run(input) {
    const text = input.toString();
    const address = Jid.parse(text);
    if (address !== undefined) {
      const written = address.toString();
      const again = Jid.parse(written);
      assert.ok(again?.equals(address), `prepared again it is ${again?.toString()} and not ${written}`);
      assert.deepEqual(
        [again?.local, again?.domain, again?.resource],
        [address.local, address.domain, address.resource],
      );
      assert.notEqual(address.domain, "");
      for (const part of [address.local, address.domain, address.resource]) assert.ok(Buffer.byteLength(part) <= 1023);
      assert.ok(!/\p{Cc}/u.test(written), "a control character in an address");
    }
    for (const prepare of [prepareLocalpart, prepareDomainpart, prepareResourcepart]) {
      const part = prepare(text);
      assert.ok(part === undefined || prepare(part) === part, `${prepare.name} is not stable`);
    }
  },
};
