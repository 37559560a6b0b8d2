// What name servers answer about a domain: places to go, or the reason why there are none, within the bounds.

import assert from "node:assert/strict";
import type { NameServer } from "../../../src/net/name-server.ts";
import { Resolver } from "../../../src/net/resolver.ts";
import { ManualClock } from "../../../src/testing/manual-clock.ts";
import { SeededRandom } from "../../../src/testing/simulation/seeded-random.ts";
import type { Target } from "../harness/target.ts";

/** Lines: `SRV name port priority weight`, `A address ttl`, `ERR code`; the first is the domain. */
export const dns: Target = {
  name: "dns",
  seeds: [
    "a.test\nSRV x.a.test 5269 10 5\nSRV y.a.test 5269 10 0\nA 127.0.0.1 60\n",
    "ä.test\nSRV . 0 0 0\n",
    "a.test\nERR ENOTFOUND\n",
    "a.test\nERR ESERVFAIL\nA ::1 0\n",
    "[::1]\n",
    "127.0.0.1\n",
  ],
  words: [
    "SRV ",
    "A ",
    "ERR ",
    "\n",
    " ",
    "ENOTFOUND",
    "ENODATA",
    "EBADNAME",
    "ETIMEOUT",
    ".",
    "..",
    "xn--",
    "65536",
    "-1",
    "NaN",
    "ä",
    "a".repeat(300),
    "SRV t 1 1 65535\n".repeat(40),
    "A 127.0.0.1 999999999\n",
  ],
  async run(input) {
    const [domain = "", ...lines] = input.toString().split("\n");
    const rows = lines.map((line) => line.split(" "));
    const error = rows.find(([kind]) => kind === "ERR")?.[1];
    const answer = async <T>(found: readonly T[]): Promise<readonly T[]> => {
      if (error !== undefined && (found.length === 0 || error.length % 2 === 0))
        throw Object.assign(new Error("no"), { code: error });
      return found;
    };
    const addresses = rows
      .filter(([kind]) => kind === "A")
      .map(([, address = "", ttl]) => ({ address, ttl: Number(ttl) }));
    const nameServer: NameServer = {
      resolveSrv: () =>
        answer(
          rows
            .filter(([kind]) => kind === "SRV")
            .map(([, name = "", port, priority, weight]) => ({
              name,
              port: Number(port) & 0xffff,
              priority: Number(priority) & 0xffff,
              weight: Number(weight) & 0xffff,
            })),
        ),
      resolve4: () => answer(addresses),
      resolve6: () => answer(addresses),
      close: () => undefined,
    };
    const resolver = new Resolver({
      clock: new ManualClock(),
      random: new SeededRandom(input.length),
      config: { servers: [], timeout: 1_000 },
      nameServer,
    });
    const found = await resolver.resolve(domain);
    if ("failure" in found) assert.notEqual(found.reason, "");
    else {
      assert.ok(found.length > 0 && found.length <= 64, `${found.length} places`);
      for (const { host } of found) assert.ok(host !== "" && host !== ".");
    }
    resolver.close();
  },
};
