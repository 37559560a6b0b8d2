// What every client connection shares with its server: configuration, services and the steps that touch other
// connections. c2s.ts makes one; a connection sees nothing else of the server.

import type { Config } from "../../config/schema.ts";
import type { Jid } from "../../jid/jid.ts";
import type { TlsServerOptions } from "../../net/transport.ts";
import type { Stanza } from "../../stanza/stanza.ts";
import type { StanzaError } from "../../stanza/stanza-error.ts";
import type { StreamError } from "../../stanza/stream-error.ts";
import type { Clock } from "../../util/clock.ts";
import type { Logger } from "../../util/log.ts";
import type { Random } from "../../util/random.ts";
import type { TimerWheel } from "../../util/timer-wheel.ts";
import type { Element } from "../../xml/element.ts";
import type { Accounts } from "../accounts.ts";
import type { ConnectionBounds } from "./bounds.ts";
import type { ClientSession } from "./client-session.ts";
import type { ResumeOutcome } from "./resumption.ts";
import type { Connection } from "./session-surroundings.ts";
import type { EnableRequest, ResumeRequest } from "./sm-elements.ts";

export interface C2sContext extends ConnectionBounds {
  readonly config: Config["c2s"];
  readonly hosts: readonly string[];
  readonly tls: TlsServerOptions;
  readonly accounts: Accounts;
  readonly clock: Clock;
  readonly random: Random;
  readonly wheel: TimerWheel;
  readonly log: Logger;
  /** Returns the stream features modules offer to a client that has logged in. */
  moduleFeatures(): readonly Element[];
  /** Why nobody may bind a resource at present, if so. Sessions that exist can be resumed all the same. */
  refusal(): StreamError | undefined;
  /** Binds a resource for `user` on `connection` (RFC 6120 §7.6), ending a session that holds the same one. */
  bind(user: Jid, resource: string | undefined, connection: Connection): Promise<ClientSession | StanzaError>;
  /** Agrees on acknowledgements with the client of `session` and tells it so (XEP-0198 §3). */
  enable(session: ClientSession, request: EnableRequest): void;
  /** Gives the session that `request` names to `connection` (XEP-0198 §5), which tells its client of a failure. */
  resume(user: Jid, request: ResumeRequest, connection: Connection): Promise<ResumeOutcome>;
  /** Tells modules of a session whose client has been told of its resource. */
  bound(session: ClientSession): void;
  /** Hands over a stanza of a client; a promise means: read on when it resolves. */
  route(session: ClientSession, stanza: Stanza): void | Promise<void>;
}
