// Presence and subscriptions (RFC 6121 §3 and §4): decides which of its neighbours a presence stanza is for. Messages
// and the roster itself are other modules' business.

import {
  defineModule,
  duration,
  type ModuleApi,
  type PresenceReceived,
  type PresenceSent,
  z,
} from "../../src/module.ts";
import type { Stanza } from "../../src/stanza/stanza.ts";
import { errorReply, StanzaError } from "../../src/stanza/stanza-error.ts";
import { NS } from "../../src/xml/ns.ts";
import { Broadcaster, contactOf, seesUser } from "./broadcaster.ts";
import { Goodbyes } from "./goodbyes.ts";
import { presenceHandover } from "./handover.ts";
import { Ledger } from "./ledger.ts";
import { availableSessions, barePresence, Outbox, sendCurrent } from "./outbox.ts";
import { isSubscriptionType } from "./subscription-state.ts";
import { Subscriptions } from "./subscriptions.ts";

export default defineModule({
  name: "presence",
  options: z.strictObject({
    /** Contacts that subscriptions may put on one roster. */
    max_contacts: z.number().int().positive().default(1_000),
    /** Subscription requests of strangers that wait for one user's answer. */
    max_requests: z.number().int().positive().default(500),
    /** Addresses that one session may have sent directed presence to. */
    max_directed: z.number().int().positive().default(1_000),
    /** How long clients have after a crash to be back before contacts are told that they are gone. */
    ledger_grace: duration("10s"),
    /** How many sessions, and addresses of directed presence, are remembered for that. */
    ledger_max: z.number().int().positive().default(200_000),
  }),
  load(api, options) {
    const adopts = api.state !== "starting";
    const ledger = new Ledger(api, options.ledger_max);
    const broadcaster = new Broadcaster(api, ledger, options.max_directed);
    const goodbyes = new Goodbyes({ api, ledger, broadcaster, adopts });
    const limits = { maxContacts: options.max_contacts, maxRequests: options.max_requests };
    const subscriptions = new Subscriptions(api, broadcaster, limits);
    const presence = new Presence(api, broadcaster, subscriptions);
    api.streamFeature(NS.preApproval, "sub");
    api.hook("presence/sent", (sent) => handled(presence.sent(sent)));
    api.hook("presence/received", (received) => handled(presence.received(received)));
    api.hook("session/ending", ({ session, reason }) => withoutAnswer(broadcaster.ended(session, reason)));
    api.hook("session/parting", ({ session, reason }) => broadcaster.parting(session, reason));
    const note = ({ session }: { readonly session: PresenceSent["session"] | undefined }): undefined => {
      if (session !== undefined) subscriptions.addInterested(session);
    };
    api.hook(`iq/get/${NS.roster}`, note, "early");
    api.handover(presenceHandover(api, broadcaster, subscriptions));
    api.on("roster/changed", ({ account, item, before }) => {
      if (item.subscription !== "remove" || before === undefined || !seesUser(before)) return;
      subscriptions.removed(account, contactOf(item));
    });
    // What is copied while nothing is written says whom we have told.
    api.suspend({ suspend: () => ledger.written() }, { modes: ["hold"] });
    api.on("server-started", () => ledger.start());
    api.on("server-alone", () => {
      // In a stop that is under way the records stay, and the next start reads them.
      if (api.state === "stopping") return;
      goodbyes.soon(options.ledger_grace);
      // Nobody comes back any more then, but a successor goes on with it.
      api.phase("close-sessions", { name: "goodbyes of an earlier run" }, ({ cause }) =>
        cause === "restart" ? undefined : goodbyes.now(),
      );
    });
    // Loaded while the server runs: who is here has been told of already.
    if (adopts) {
      for (const session of api.sessions()) broadcaster.restore(session, []);
      ledger.start();
      goodbyes.soon(options.ledger_grace);
    }
    return async () => {
      goodbyes.close();
      await ledger.close();
    };
  },
});

type Done = undefined | Promise<undefined>;

/** Sends each presence stanza to where it is dealt with. */
class Presence {
  #api: ModuleApi;
  #broadcaster: Broadcaster;
  #subscriptions: Subscriptions;

  constructor(api: ModuleApi, broadcaster: Broadcaster, subscriptions: Subscriptions) {
    this.#api = api;
    this.#broadcaster = broadcaster;
    this.#subscriptions = subscriptions;
  }

  /** Presence from a local client. */
  sent({ session, stanza, again = false }: PresenceSent): Done {
    const { to, type } = stanza;
    // What a client sent just before its session ended must not come after its goodbye.
    if (!session.open && type === "available") return undefined;
    if (type === "available" && this.#broadcaster.hasParted(session)) {
      if (to === undefined) session.setPresence(stanza);
      return undefined;
    }
    if (to === undefined) return this.#broadcast({ session, stanza, again });
    if (isSubscriptionType(type)) {
      const done = this.#subscriptions.sent(session.account, to.bare, type, stanza);
      return done.then((error) => (error === undefined ? undefined : this.#refuse({ session, stanza }, error)));
    }
    switch (type) {
      case "available":
      case "unavailable": {
        const done = this.#broadcaster.direct(session, stanza, to);
        if (done !== "refused") return withoutAnswer(done);
        const error = new StanzaError("resource-constraint", "directed presence went to too many already");
        return this.#refuse({ session, stanza }, error);
      }
      case "probe":
      case "error":
        return withoutAnswer(this.#api.route(stanza));
      default:
        return this.#refuse({ session, stanza }, new StanzaError("bad-request"));
    }
  }

  /** Presence for a local account, or for one of its resources. */
  received({ stanza, account }: PresenceReceived): Done {
    const { type } = stanza;
    if (isSubscriptionType(type)) {
      const done = this.#subscriptions.received(account, type, stanza);
      return done.then((error) => (error === undefined ? undefined : this.#return(stanza, error)));
    }
    if (type === "probe") return withoutAnswer(this.#answerProbe({ stanza, account }));
    if (type !== "available" && type !== "unavailable") return undefined;
    // RFC 6121 §8.5.2.1.1 and §8.5.3: a full JID is that resource or nobody; a bare one all that are available.
    const { to } = stanza;
    if (to?.isFull) {
      const session = this.#api.session(to);
      return session?.open ? withoutAnswer(session.deliver(stanza)) : undefined;
    }
    const waits: Promise<void>[] = [];
    const hearers =
      type === "unavailable" ? this.#broadcaster.hearersOfGoodbyes(account) : availableSessions(this.#api, account);
    for (const session of hearers) {
      const wait = session.deliver(stanza);
      if (wait !== undefined) waits.push(wait);
    }
    return waits.length === 0 ? undefined : Promise.all(waits).then(() => undefined);
  }

  #broadcast({ session, stanza, again }: PresenceSent): Done {
    switch (stanza.type) {
      case "available":
        if (!hasGoodPriority(stanza)) {
          return this.#refuse({ session, stanza }, new StanzaError("bad-request", "priority is -128 to 127"));
        }
        return withoutAnswer(this.#broadcaster.available(session, stanza, again));
      case "unavailable":
        return withoutAnswer(this.#broadcaster.unavailable(session, stanza));
      case "error":
        return undefined;
      default:
        return this.#refuse({ session, stanza }, new StanzaError("bad-request"));
    }
  }

  /** RFC 6121 §4.3.2. */
  async #answerProbe({ stanza, account }: PresenceReceived): Promise<void> {
    const asker = stanza.from;
    const outbox = new Outbox(this.#api);
    if (!asker.bare.equals(account)) {
      const roster = await this.#api.rosters.load(account);
      const item = roster.items.get(asker.bare.toString());
      if (item === undefined || !seesUser(item)) {
        // A request that waits for the user's answer must not be refused by a probe.
        if (item?.pendingIn === undefined) outbox.send(barePresence("unsubscribed", account, asker.bare));
        await outbox.sent();
        return;
      }
    }
    const count = sendCurrent(this.#api, account, asker, outbox);
    if (count === 0) outbox.send(barePresence("unavailable", account, asker));
    await outbox.sent();
  }

  #refuse({ session, stanza }: PresenceSent, error: StanzaError): Done {
    const reply = errorReply(stanza, error);
    return reply === undefined ? undefined : withoutAnswer(session.deliver(reply));
  }

  #return(stanza: Stanza, error: StanzaError): Done {
    const reply = errorReply(stanza, error);
    return reply === undefined ? undefined : withoutAnswer(this.#api.route(reply));
  }
}

/** RFC 6121 §4.7.2.3: a whole number from -128 to 127, or nothing. */
function hasGoodPriority(presence: Stanza): boolean {
  const text = presence.element.getChildText("priority");
  if (text === null) return true;
  const priority = /^\s*[+-]?\d{1,3}\s*$/.test(text) ? Number(text) : Number.NaN;
  return priority >= -128 && priority <= 127;
}

function handled(done: Done): true | Promise<true> {
  return done === undefined ? true : done.then((): true => true);
}

function withoutAnswer(done: void | Promise<void>): Done {
  return done instanceof Promise ? done.then(() => undefined) : undefined;
}
