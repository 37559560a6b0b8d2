// What the launchers of Prosody, ejabberd and Morendo have in common, so that a test or a benchmark can be written once
// and run against each of them.

import type { Account } from "./accounts.ts";
import type { ServerProcess } from "./child.ts";

/** A certificate and its key, in PEM. */
export interface Identity {
  readonly certificate: string;
  readonly key: string;
}

/** The servers this test network knows. */
export type ServerKind = "prosody" | "ejabberd" | "morendo";

/** How a server is to be started. */
export interface PeerOptions {
  readonly domain: string;
  /** A loopback address with free XMPP ports; one is found unless told. */
  readonly address?: string;
  readonly identity: Identity;
  /** PEM of the roots that peers' certificates must lead to. */
  readonly trust?: string;
  /** `dialback` (the default): any certificate, dialback. `external`: verified certificates only. */
  readonly federation?: "dialback" | "external";
  /** The name server to ask; without one no other domain can be found. */
  readonly dns?: { readonly address: string; readonly port: number } | undefined;
  readonly accounts?: readonly Account[];
  /** Further modules, by the name they have in that server's configuration. */
  readonly modules?: readonly string[];
  /** Where Prosody looks for further modules. */
  readonly pluginPaths?: readonly string[];
  /** Where Morendo looks for further modules. */
  readonly moduleFolder?: string;
  /** Lifts Morendo's rate limits, as the launchers of the other servers always do. */
  readonly unlimited?: boolean;
  readonly logLevel?: string;
  /** Text added to the server's configuration file. */
  readonly extra?: string;
}

/** A server that accepts clients and servers. */
export interface RunningServer {
  readonly kind: ServerKind;
  readonly domain: string;
  readonly address: string;
  readonly process: ServerProcess;
}
