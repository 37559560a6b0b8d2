import assert from "node:assert/strict";
import { STREAM_CONDITIONS, type StreamCondition, StreamError } from "../../../src/stanza/stream-error.ts";
import { xml } from "../../../src/xml/element.ts";

describe("StreamError", () => {
  it("writes and reads every condition", () => {
    for (const condition of Object.keys(STREAM_CONDITIONS) as StreamCondition[]) {
      const error = new StreamError(condition, "a & b");
      assert.deepEqual(StreamError.read(error.toElement()), error);
    }
    assert.equal(Object.keys(STREAM_CONDITIONS).length, 25);
  });

  it("says where to go instead", () => {
    const error = StreamError.seeOtherHost("[2001:db8::1]:5223");
    assert.match(error.toElement().toString(), /<see-other-host xmlns="[^"]*">\[2001:db8::1\]:5223<\/see-other-host>/);
    assert.equal(StreamError.read(error.toElement()).host, "[2001:db8::1]:5223");
  });

  it("says in 32 bits how many stanzas were sent, and does not call fewer than before too many", () => {
    const text = StreamError.handledCountTooHigh(3, 2 ** 32 + 5)
      .toElement()
      .toString();
    assert.match(text, /<handled-count-too-high xmlns="urn:xmpp:sm:3" h="3" send-count="5"\/>/);
    assert.match(text, /acknowledged 3 stanzas: more than the 5 that were sent, or fewer than before/);
  });

  it("reads a condition it does not know as undefined-condition", () => {
    const element = xml("stream:error", {}, xml("constructor", { xmlns: "urn:ietf:params:xml:ns:xmpp-streams" }));
    assert.equal(StreamError.read(element).condition, "undefined-condition");
    assert.equal(StreamError.read(xml("stream:error", {}, "text")).condition, "undefined-condition");
  });
});
