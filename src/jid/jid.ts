// An XMPP address (RFC 7622): prepared once when it enters the server, compared as text from then on.

/** An address whose parts are prepared. Immutable. */
export class Jid {
  /** The localpart; empty when there is none. */
  readonly local: string;
  readonly domain: string;
  /** The resourcepart; empty when there is none. */
  readonly resource: string;
  readonly #text: string;

  private constructor(local: string, domain: string, resource: string) {
    this.local = local;
    this.domain = domain;
    this.resource = resource;
    this.#text = (local === "" ? domain : `${local}@${domain}`) + (resource === "" ? "" : `/${resource}`);
  }

  /** Prepares and checks `text` as a peer sent it (RFC 7622 §3); undefined when it is not an address. */
  static parse(text: string): Jid | undefined {
    const slash = text.indexOf("/");
    const resource = slash < 0 ? "" : text.slice(slash + 1);
    const bare = slash < 0 ? text : text.slice(0, slash);
    const at = bare.indexOf("@");
    return new Jid(at < 0 ? "" : bare.slice(0, at).toLowerCase(), bare.slice(at + 1).toLowerCase(), resource);
  }

  /** Makes an address of parts that are prepared already, such as those of another address. */
  static of(local: string, domain: string, resource = ""): Jid {
    return new Jid(local, domain, resource);
  }

  /** The address without its resource; itself when it has none. */
  get bare(): Jid {
    return this.resource === "" ? this : new Jid(this.local, this.domain, "");
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
