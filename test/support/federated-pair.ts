// Two servers on a network of their own that federate, for the tests of one `describe`, and users who are online at them. Not for:
// tests that start servers of their own (network.ts).

import { attributeOf, RawClient } from "../../src/testing/raw-client.ts";
import { PASSWORD } from "./accounts.ts";
import { PORTS } from "./addresses.ts";
import { missing, Network } from "./network.ts";
import type { RunningServer, ServerKind } from "./server.ts";
import { skipWithReason } from "./subject.ts";

export interface FederatedPairOptions {
  /** The server of near.example, and that of far.example. */
  readonly near: ServerKind;
  readonly far: ServerKind;
  /** How the two know each other. */
  readonly federation: "dialback" | "external";
  /** The accounts there are on either. */
  readonly usernames: readonly string[];
  /** Text added to the configuration of the near one. */
  readonly nearExtra?: string;
}

/** The two, there while the tests of the `describe` run. */
export interface FederatedPair {
  readonly near: RunningServer;
  readonly far: RunningServer;
  /** Logs a user in, who is available then; it is logged out after the running test. */
  online(server: RunningServer, username: string): Promise<RawClient>;
}

/**
 * Has the running `describe` start the two before its tests and stop them afterwards. The tests are skipped where one of the
 * servers is not installed.
 */
export function federatedPair({ nearExtra: extra = "", ...options }: FederatedPairOptions): FederatedPair {
  const { near, far, federation, usernames } = options;
  let network: Network | undefined;
  let servers: readonly RunningServer[] = [];
  const clients: RawClient[] = [];

  const server = (index: 0 | 1): RunningServer => {
    const found = servers[index];
    if (found === undefined) throw new Error("there are no servers outside of tests");
    return found;
  };

  before(async function () {
    skipWithReason(this, missing(far) ?? missing(near));
    network = await Network.create();
    const accounts = usernames.map((username) => ({ username }));
    servers = await network.startBoth(
      [near, { domain: "near.example", federation, accounts, extra }],
      [far, { domain: "far.example", federation, accounts }],
    );
  });

  afterEach(function () {
    if (this.currentTest?.state === "failed") process.stdout.write(`${server(0).process.log.slice(-6_000)}\n`);
    for (const client of clients.splice(0)) client.destroy();
  });

  after(() => network?.stop());

  return {
    get near() {
      return server(0);
    },
    get far() {
      return server(1);
    },
    async online({ address, domain }, username) {
      const at = { host: address, port: PORTS.c2s, domain };
      const client = await RawClient.login({ ...at, username, password: PASSWORD, resource: "x" });
      clients.push(client);
      // Only who has asked for the roster is told about subscriptions (RFC 6121 §2.1.6).
      await client.iq("get", "<query xmlns='jabber:iq:roster'/>");
      client.presence();
      await client.waitFor((xml) => xml.startsWith("<presence") && attributeOf(xml, "from") === client.jid);
      return client;
    },
  };
}
