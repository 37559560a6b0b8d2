// What modules announce: features, identities and nodes for service discovery (XEP-0030), stream features, and ad-hoc
// commands (XEP-0050). Two modules may announce the same feature; it stays until both have taken it back.

import type { StanzaError } from "../stanza/stanza-error.ts";
import type { AdHocCommand } from "./ad-hoc-command.ts";
import type { DiscoNode, DiscoTarget, FindNode, Identity, NodeQuery } from "./module-api.ts";

/** A stream feature: an empty element of this name and namespace. */
export interface StreamFeature {
  readonly namespace: string;
  readonly name: string;
}

interface Announced {
  readonly features: Set<{ readonly namespace: string }>;
  readonly identities: Set<Identity>;
}

/** All that is announced at the moment. */
export class Announcements {
  #targets: Record<DiscoTarget, Announced> = {
    host: { features: new Set(), identities: new Set() },
    account: { features: new Set(), identities: new Set() },
  };
  #streamFeatures = new Set<StreamFeature>();
  #commands = new Map<string, AdHocCommand>();
  #nodes = new Set<{ readonly find: FindNode }>();

  /** How many announcements there are. */
  get count(): number {
    const { host, account } = this.#targets;
    const sizes = [host.features, host.identities, account.features, account.identities, this.#streamFeatures];
    return sizes.reduce((sum, set) => sum + set.size, this.#commands.size + this.#nodes.size);
  }

  /** Each of these adds an announcement and returns what takes it back. */
  addFeature(namespace: string, target: DiscoTarget): () => void {
    return addTo(this.#targets[target].features, { namespace });
  }

  addIdentity(identity: Identity, target: DiscoTarget): () => void {
    return addTo(this.#targets[target].identities, { ...identity });
  }

  addStreamFeature(namespace: string, name: string): () => void {
    return addTo(this.#streamFeatures, { namespace, name });
  }

  addNodes(find: FindNode): () => void {
    return addTo(this.#nodes, { find });
  }

  /** Adds a command; undefined when there is one with its node already. */
  addCommand(command: AdHocCommand): (() => void) | undefined {
    const { node } = command;
    if (this.#commands.has(node)) return undefined;
    this.#commands.set(node, command);
    return () => {
      this.#commands.delete(node);
    };
  }

  /** The commands by their nodes, in the order of announcing. */
  get commands(): ReadonlyMap<string, AdHocCommand> {
    return this.#commands;
  }

  /** Returns what the first one who knows the node says of it. */
  node(query: NodeQuery): DiscoNode | StanzaError | undefined {
    for (const { find } of this.#nodes) {
      const found = find(query);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** Returns the identities in the order of announcing and the features sorted, each once. */
  announced(target: DiscoTarget): { readonly identities: readonly Identity[]; readonly features: readonly string[] } {
    const { features, identities } = this.#targets[target];
    const namespaces = new Set(Array.from(features, ({ namespace }) => namespace));
    const distinct = new Map<string, Identity>();
    for (const identity of identities) distinct.set(JSON.stringify([identity.category, identity.type]), identity);
    return { identities: [...distinct.values()], features: [...namespaces].sort() };
  }

  streamFeatures(): readonly StreamFeature[] {
    const distinct = new Map<string, StreamFeature>();
    for (const feature of this.#streamFeatures) distinct.set(`${feature.namespace} ${feature.name}`, feature);
    return [...distinct.values()];
  }
}

function addTo<T>(set: Set<T>, item: T): () => void {
  set.add(item);
  return () => {
    set.delete(item);
  };
}
