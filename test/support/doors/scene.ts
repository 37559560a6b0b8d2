// A server seen from everywhere at once, for tests that ask the same of it by different doors: a client, a contact at another
// server, the states that it goes through, its report and how its process ends. What a door does is in door.ts.

import type { ServerStatus } from "../../../src/server/server.ts";
import type { DrainReport } from "../../../src/shutdown/report.ts";
import type { RawClient, RawClientOptions } from "../../../src/testing/raw-client.ts";
import type { ScriptedPeer } from "../../../src/testing/scripted-peer.ts";

/** A running server and those who look at it. */
export interface Scene {
  /** Romeo, who is online and whose contact is at the peer. */
  readonly romeo: RawClient;
  readonly peer: ScriptedPeer;
  /** The states since the scene began, in order. */
  readonly states: readonly string[];
  /** Romeo, who had to go, is there again, and the states begin anew. */
  comeBack(): Promise<void>;
  client(options?: Partial<RawClientOptions>): RawClient;
  status(): Promise<ServerStatus | undefined>;
  /** The report of the last run, once it is there. */
  report(): DrainReport | undefined;
  /** How the process ended, or would have; resolves when it has. */
  exitCode(): Promise<number | null>;
}

/** Romeo's contact, which sees his presence. */
export const CONTACT = "contact@peer.test";

/** The types of the presence that the contact got from Romeo, from number `since` of what the peer took. */
export function presenceOfRomeo({ peer }: Scene, since = 0): string[] {
  return peer.stanzas
    .slice(since)
    .filter((element) => element.is("presence") && (element.attrs.from ?? "").startsWith("romeo@a.test"))
    .map((element) => element.attrs.type ?? "available");
}
