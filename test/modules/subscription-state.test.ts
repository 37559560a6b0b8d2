// Every cell of the tables of RFC 6121 appendix A, written down here a second time in the order of the RFC.
import assert from "node:assert/strict";
import {
  inbound,
  inState,
  outbound,
  STATES,
  type State,
  type SubscriptionType,
  stateOf,
} from "../../modules/presence/subscription-state.ts";

const ROWS: readonly State[] = [
  "none",
  "none+out",
  "none+in",
  "none+out+in",
  "to",
  "to+in",
  "from",
  "from+out",
  "both",
];

/** One line per existing state, as in the RFC: MUST or MUST NOT, and the new state (`-`: no state change). */
const TABLES: readonly [title: string, direction: typeof inbound, type: SubscriptionType, table: string][] = [
  [
    "A.2.1",
    outbound,
    "subscribe",
    `MUST none+out
     MUST -
     MUST none+out+in
     MUST -
     MUST -
     MUST -
     MUST from+out
     MUST -
     MUST -`,
  ],
  [
    "A.2.2",
    outbound,
    "unsubscribe",
    `MUST -
     MUST none
     MUST -
     MUST none+in
     MUST none
     MUST none+in
     MUST -
     MUST from
     MUST from`,
  ],
  [
    "A.2.3",
    outbound,
    "subscribed",
    `MUSTNOT -
     MUSTNOT -
     MUST from
     MUST from+out
     MUSTNOT -
     MUST both
     MUSTNOT -
     MUSTNOT -
     MUSTNOT -`,
  ],
  [
    "A.2.4",
    outbound,
    "unsubscribed",
    `MUSTNOT -
     MUSTNOT -
     MUST none
     MUST none+out
     MUSTNOT -
     MUST to
     MUST none
     MUST none+out
     MUST to`,
  ],
  [
    "A.3.1",
    inbound,
    "subscribe",
    `MUST none+in
     MUST none+out+in
     MUSTNOT -
     MUSTNOT -
     MUST to+in
     MUSTNOT -
     MUSTNOT -
     MUSTNOT -
     MUSTNOT -`,
  ],
  [
    "A.3.2",
    inbound,
    "unsubscribe",
    `MUSTNOT -
     MUSTNOT -
     MUST none
     MUST none+out
     MUSTNOT -
     MUST to
     MUST none
     MUST none+out
     MUST to`,
  ],
  [
    "A.3.3",
    inbound,
    "subscribed",
    `MUSTNOT -
     MUST to
     MUSTNOT -
     MUST to+in
     MUSTNOT -
     MUSTNOT -
     MUSTNOT -
     MUST both
     MUSTNOT -`,
  ],
  [
    "A.3.4",
    inbound,
    "unsubscribed",
    `MUSTNOT -
     MUST none
     MUSTNOT -
     MUST none+in
     MUST none
     MUST none+in
     MUSTNOT -
     MUST from
     MUST from`,
  ],
];

describe("subscription states", () => {
  for (const [section, direction, type, table] of TABLES) {
    for (const [index, line] of table.split("\n").entries()) {
      const state = ROWS[index] as State;
      const [must, next] = line.trim().split(" ") as [string, State | "-"];
      it(`${section}: ${direction.name} ${type} in ${state}`, () => {
        assert.deepEqual(direction(type, state), { pass: must === "MUST", next: next === "-" ? state : next });
      });
    }
  }

  for (const state of STATES) {
    it(`${state} is kept on a roster item and found there again`, () => {
      const item = inState({ jid: "j@b.test", groups: ["g"], name: "n", subscription: "none" }, state, "request");
      assert.equal(stateOf(item), state);
      assert.deepEqual([item.groups, item.name], [["g"], "n"]);
      assert.equal(item.pendingIn, state.endsWith("+in") ? "request" : undefined);
    });
  }

  it("a contact that is not on the roster is in none", () => {
    assert.equal(stateOf(undefined), "none");
  });
});
