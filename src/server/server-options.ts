// What a server is made of and what is given to it, by the program that starts it or by a test. Not for: what an operator
// configures (src/config/schema.ts), nor what becomes of it (server.ts).

import type { Config } from "../config/schema.ts";
import type { Inheritance, SpawnSuccessor } from "../handover/index.ts";
import type { InheritedListeners } from "../net/inherited.ts";
import type { CertificateSource, Network, PassableSocket } from "../net/transport.ts";
import type { Watchdog } from "../shutdown/watchdog.ts";
import type { Store } from "../store/store.ts";
import type { Clock } from "../util/clock.ts";
import type { Logger } from "../util/log.ts";
import type { Random } from "../util/random.ts";
import type { ModuleDefinition, ModuleOperations } from "./module-api.ts";
import type { SuspendWish } from "./suspending.ts";

/** What a server is made of. Everything but the configuration and the log has the real thing as its default. */
export interface ServerOptions {
  readonly config: Config;
  readonly log: Logger;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly network?: Network;
  readonly store?: Store;
  readonly watchdog?: Watchdog;
  /** How many bytes the process uses; what the system says unless told. */
  readonly memoryUsed?: () => number;
  /** Folders to find modules in, before the server's own. */
  readonly moduleFolders?: readonly URL[];
  /**
   * What the paths and packages among the configured modules are relative to: the configuration file's folder. The
   * working directory unless given.
   */
  readonly moduleBase?: string;
  /** Loaded instead of the modules that the configuration names: nothing is looked for on the disk. */
  readonly modules?: readonly ModuleDefinition[];
  /** Used instead of the files that the configuration names. */
  readonly certificates?: CertificateSource;
  /** Comes up suspended: whoever wants in waits, or is refused, until somebody resumes it. */
  readonly suspended?: SuspendWish;
  /** What a predecessor hands over to this server, when it is started as its successor. */
  readonly inheritance?: Inheritance;
  /** Listening sockets that are open already: a predecessor's, or a service manager's. */
  readonly inherited?: InheritedListeners;
  /** What else this process listens with: it is told of with the rest, and goes to a successor. */
  readonly alongside?: Alongside;
  /** How a successor is started; as our own child unless given. */
  readonly spawnSuccessor?: SpawnSuccessor;
  /** What operators can ask for by way of modules, such as ad-hoc commands; nothing unless given. */
  readonly operations?: ModuleOperations;
  /** Where drain reports are written: the data folder unless told, nowhere with `false`. */
  readonly reportDir?: string | false;
}

/** Listening sockets beside those of the server. */
export interface Alongside {
  /** As people read it: `http 127.0.0.1:5280`. */
  readonly listening: readonly string[];
  readonly passable: readonly PassableSocket[];
}
