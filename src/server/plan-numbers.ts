// Counts what a shutdown would have to do now: sessions, other servers, what is owed to them. It reads the rosters of
// users who are online, because their contacts are who will have to be told.

import type { Jid } from "../jid/jid.ts";
import type { Clock } from "../util/clock.ts";
import type { Rosters } from "./rosters.ts";
import type { LinkStatus } from "./s2s/links.ts";
import type { Session } from "./session.ts";
import type { SessionTable } from "./session-table.ts";

/** What there is to do. */
export interface PlanNumbers {
  readonly sessions: number;
  /** Sessions that are available: their contacts see them. */
  readonly available: number;
  /** Sessions that are kept for the next start, because their clients can resume them. */
  readonly resumable: number;
  /** Client connections that have not logged in. */
  readonly notLoggedIn: number;
  /**
   * Unavailable presence to contacts that the rosters of available sessions call for; directed presence is not counted,
   * nor sessions of which contacts hear nothing (`shutdown.resumable = "keep"`).
   */
  readonly goodbyes: { readonly local: number; readonly remote: number };
  readonly remote: RemoteNumbers;
  readonly stanzas: {
    /** Waiting to be written to other servers. */
    readonly queued: number;
    /** Written to other servers without proof so far. */
    readonly unproved: number;
    /** Without a fate, wherever they are: those two and what is on its way back to its sender. */
    readonly owed: number;
  };
}

/** Other servers, counted as domains. */
export interface RemoteNumbers {
  /** With an authenticated stream from us. */
  readonly warm: number;
  /** Without one, though stanzas wait for them or contacts there have to be told. */
  readonly cold: number;
  /** Of the cold ones: those for which stanzas wait. */
  readonly coldWithQueue: number;
  /** To which something is owed now, or will be when the sessions have ended. */
  readonly owed: number;
  /** The first cold ones by name. */
  readonly coldNames: readonly string[];
}

/** What is counted. */
export interface PlanSubject {
  readonly hosts: ReadonlySet<string>;
  readonly sessions: SessionTable;
  readonly rosters: Rosters;
  readonly notLoggedIn: number;
  readonly resumable: number;
  /** Whether contacts are told when the session goes. */
  isToldOf(session: Session): boolean;
  readonly links: readonly LinkStatus[];
  /** Stanzas to other servers that have no fate. */
  readonly owed: number;
  readonly clock: Clock;
}

const MAX_NAMES = 20;
/** Rosters that are looked at before other work has its turn. */
const BATCH = 50;

/** Counts; other work has its turn meanwhile, so that what is counted first may have changed at the end. */
export async function countForPlan(subject: PlanSubject): Promise<PlanNumbers> {
  const { sessions, links, notLoggedIn, resumable, owed } = subject;
  const online = availableAccounts(subject);
  const contacts = await countContacts(subject, online);
  let available = 0;
  for (const { count } of online.values()) available += count;
  let queued = 0;
  let unproved = 0;
  for (const link of links) {
    queued += link.queued;
    unproved += link.unproved;
  }
  return {
    sessions: sessions.size,
    available,
    resumable,
    notLoggedIn,
    goodbyes: contacts.goodbyes,
    remote: countRemote(links, contacts.domains),
    stanzas: { queued, unproved, owed },
  };
}

/** An account with available sessions: how many, and of how many contacts are told when they go. */
interface Online {
  readonly account: Jid;
  count: number;
  told: number;
}

function availableAccounts({ sessions, isToldOf }: PlanSubject): Map<string, Online> {
  const online = new Map<string, Online>();
  for (const session of sessions.all()) {
    if (session.presence === undefined) continue;
    const name = session.account.toString();
    const known = online.get(name) ?? { account: session.account, count: 0, told: 0 };
    known.count++;
    if (isToldOf(session)) known.told++;
    online.set(name, known);
  }
  return online;
}

/** Who has to be told, by the rosters (RFC 6121 §4.5.2). */
async function countContacts(
  { rosters, hosts, clock }: PlanSubject,
  online: ReadonlyMap<string, Online>,
): Promise<{ readonly goodbyes: PlanNumbers["goodbyes"]; readonly domains: ReadonlySet<string> }> {
  const goodbyes = { local: 0, remote: 0 };
  const domains = new Set<string>();
  let looked = 0;
  for (const { account, told } of online.values()) {
    if (told === 0) continue;
    for (const { jid, subscription } of (await rosters.load(account)).items.values()) {
      if (subscription !== "from" && subscription !== "both") continue;
      // A bare JID, prepared: nothing but the domain follows the sign.
      const domain = jid.slice(jid.indexOf("@") + 1);
      if (hosts.has(domain)) goodbyes.local += told;
      else {
        goodbyes.remote += told;
        domains.add(domain);
      }
    }
    if (++looked % BATCH === 0) await clock.turn();
  }
  return { goodbyes, domains };
}

function countRemote(links: readonly LinkStatus[], contacts: ReadonlySet<string>): RemoteNumbers {
  const warm = new Set<string>();
  const waiting = new Set<string>();
  const owed = new Set(contacts);
  for (const { remote, state, queued, unproved } of links) {
    if (state === "open") warm.add(remote);
    else if (queued > 0) waiting.add(remote);
    if (queued + unproved > 0) owed.add(remote);
  }
  // A domain may have one stream from each of our hosts; one that waits is cold, whatever the others do.
  const cold = [...waiting, ...[...contacts].filter((domain) => !warm.has(domain) && !waiting.has(domain))];
  return {
    warm: warm.size,
    cold: cold.length,
    coldWithQueue: waiting.size,
    owed: owed.size,
    coldNames: cold.slice(0, MAX_NAMES),
  };
}
