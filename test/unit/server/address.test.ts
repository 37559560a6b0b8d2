import assert from "node:assert/strict";
import { addressGroup } from "../../../src/server/address.ts";

describe("addressGroup", () => {
  it("takes an IPv4 address as it is", () => {
    assert.equal(addressGroup("192.0.2.7"), "192.0.2.7");
  });

  it("takes all addresses of one IPv6 /64 together, however they are written, and no others", () => {
    assert.equal(addressGroup("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
    assert.equal(addressGroup("2001:db8:1:2::6"), "2001:db8:1:2::/64");
    assert.equal(addressGroup("2001:db8::6"), "2001:db8:0:0::/64");
    assert.equal(addressGroup("2001:db8:1::4:5:6"), "2001:db8:1:0::/64");
    assert.equal(addressGroup("::1"), "0:0:0:0::/64");
    assert.equal(addressGroup("2001:db8:1:3::6"), "2001:db8:1:3::/64");
  });
});
