// An XMPP address (RFC 7622): prepared once when it enters the server, compared as text from then on. The escaping of
// XEP-0106 is for clients and gateways: it is not applied here.

import { BoundedCache } from "../util/bounded-cache.ts";
import { prepareDomain } from "./domain.ts";
import { opaqueString, usernameCaseMapped } from "./precis.ts";

/** The longest a part may be after preparation, in bytes of UTF-8 (RFC 7622 §3.1). */
const MAX_PART_BYTES = 1023;
/**
 * Preparation can make a part shorter; nothing that is allowed is longer before it, in characters: what is composed was
 * three at most. A domain costs more than the others, quadratic time, and has to be short in the end.
 */
const MAX_PART_TEXT = 3 * MAX_PART_BYTES;
const MAX_DOMAIN_TEXT = MAX_PART_BYTES;
const MAX_TEXT = 2 * MAX_PART_TEXT + MAX_DOMAIN_TEXT + 2;
/** Characters PRECIS would allow in a localpart and RFC 7622 §3.3.1 does not. */
const BANNED_IN_LOCAL = /["&'/:<>@]/;
/** Parts that are their own prepared form: most addresses, most of the time. */
const PLAIN_LOCAL = /^[!#-%(-.0-9;=?A-Z[-~]+$/;
const PLAIN_RESOURCE = /^[ -~]+$/;

const CACHED = 10_000;
/** Longer texts are prepared each time, so that nobody can fill the memory with them. */
const MAX_CACHED_TEXT = 300;

/** An address whose parts are prepared. Immutable. */
export class Jid {
  /** The localpart; empty when there is none. */
  readonly local: string;
  readonly domain: string;
  /** The resourcepart; empty when there is none. */
  readonly resource: string;
  readonly #text: string;
  #bare: Jid | undefined;

  private constructor(local: string, domain: string, resource: string) {
    this.local = local;
    this.domain = domain;
    this.resource = resource;
    this.#text = (local === "" ? domain : `${local}@${domain}`) + (resource === "" ? "" : `/${resource}`);
  }

  /** Prepares and checks `text` as a peer sent it (RFC 7622 §3); undefined when it is not an address. */
  static parse(text: string): Jid | undefined {
    const known = parsed.get(text);
    if (known !== undefined) return known;
    if (text.length > MAX_TEXT) return undefined;
    // A piece of a text keeps the whole of it in memory: what is remembered must not be a piece of a peer's input.
    const own = Buffer.from(text).toString();
    // Half of a surrogate pair has no UTF-8 form and came back as something else.
    if (own !== text) return undefined;
    const jid = Jid.#prepare(own);
    if (jid !== undefined && own.length <= MAX_CACHED_TEXT) parsed.set(own, jid);
    return jid;
  }

  static #prepare(text: string): Jid | undefined {
    // The order of RFC 7622 §3.1: the first slash ends the address proper, then its first at-sign ends the localpart.
    const slash = text.indexOf("/");
    const bare = slash < 0 ? text : text.slice(0, slash);
    const at = bare.indexOf("@");
    const domain = prepareDomainpart(bare.slice(at + 1));
    const local = at < 0 ? "" : prepareLocalpart(bare.slice(0, at));
    const resource = slash < 0 ? "" : prepareResourcepart(text.slice(slash + 1));
    if (domain === undefined || local === undefined || resource === undefined) return undefined;
    return new Jid(local, domain, resource);
  }

  /** Makes an address of parts that are prepared already, such as those of another address. */
  static of(local: string, domain: string, resource = ""): Jid {
    return new Jid(local, domain, resource);
  }

  /** The address without its resource; itself when it has none. */
  get bare(): Jid {
    if (this.resource === "") return this;
    this.#bare ??= new Jid(this.local, this.domain, "");
    return this.#bare;
  }

  get isFull(): boolean {
    return this.resource !== "";
  }

  /** The same address with another resource (prepared by the caller). */
  withResource(resource: string): Jid {
    return new Jid(this.local, this.domain, resource);
  }

  equals(other: Jid | undefined): boolean {
    return other !== undefined && other.#text === this.#text;
  }

  toString(): string {
    return this.#text;
  }
}

const parsed = new BoundedCache<string, Jid>(CACHED);

/** Returns the prepared form of a localpart that stands alone, such as a login name; undefined when it is not allowed. */
export function prepareLocalpart(text: string): string | undefined {
  return text.length > MAX_PART_TEXT ? undefined : bounded(prepareLocal(text));
}

/** Returns the prepared form of a resource that a client asks for; undefined when it is not allowed. */
export function prepareResourcepart(text: string): string | undefined {
  return text.length > MAX_PART_TEXT ? undefined : bounded(prepareResource(text));
}

/** Returns the canonical form of a domain that stands alone, such as one from the configuration; undefined when it is none. */
export function prepareDomainpart(text: string): string | undefined {
  return text.length > MAX_DOMAIN_TEXT ? undefined : bounded(prepareDomain(text));
}

function prepareLocal(text: string): string | undefined {
  if (PLAIN_LOCAL.test(text)) return text.toLowerCase();
  const prepared = usernameCaseMapped(text);
  return prepared === undefined || BANNED_IN_LOCAL.test(prepared) ? undefined : prepared;
}

function prepareResource(text: string): string | undefined {
  return PLAIN_RESOURCE.test(text) ? text : opaqueString(text);
}

function bounded(part: string | undefined): string | undefined {
  return part !== undefined && Buffer.byteLength(part) <= MAX_PART_BYTES ? part : undefined;
}
