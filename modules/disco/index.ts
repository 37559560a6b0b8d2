// Service Discovery (XEP-0030): what the host and the accounts on it are and can do. An account answers only itself and
// those who may see its presence (§8, and RFC 6121 §8.5.1 against harvesting).

import {
  type DiscoItem,
  type DiscoNode,
  defineModule,
  type IqAnswer,
  type IqRequest,
  type ModuleApi,
} from "../../src/module.ts";
import { StanzaError } from "../../src/stanza/stanza-error.ts";
import { type Element, xml } from "../../src/xml/element.ts";
import { NS } from "../../src/xml/ns.ts";

export default defineModule({
  name: "disco",
  load(api) {
    api.identity({ category: "server", type: "im", name: "Morendo" });
    api.identity({ category: "account", type: "registered" }, "account");
    for (const target of ["host", "account"] as const) {
      api.feature(NS.discoInfo, target);
      api.feature(NS.discoItems, target);
    }
    api.hook(`iq/get/${NS.discoInfo}`, (request) => answer(api, request, infoOf));
    api.hook(`iq/get/${NS.discoItems}`, (request) => answer(api, request, itemsOf));
  },
});

type Describe = (api: ModuleApi, request: IqRequest) => Element;

function answer(
  api: ModuleApi,
  request: IqRequest,
  describe: Describe,
): IqAnswer | undefined | Promise<IqAnswer | undefined> {
  if (!request.payload.is("query")) return undefined;
  if (request.target === "host" || request.stanza.from.bare.equals(request.asked)) {
    return answerAllowed(api, request, describe);
  }
  return isSubscriber(api, request).then((allowed) => (allowed ? answerAllowed(api, request, describe) : undefined));
}

function answerAllowed(api: ModuleApi, request: IqRequest, describe: Describe): IqAnswer {
  const { node } = request.payload.attrs;
  if (node === undefined) return describe(api, request);
  const { target, asked, stanza } = request;
  const found = api.node({ node, target, asked, asker: stanza.from }) ?? new StanzaError("item-not-found");
  if (found instanceof StanzaError) return found;
  const isInfo = request.payload.getNS() === NS.discoInfo;
  return isInfo ? infoElement(found, node) : itemsElement(found.items ?? [], node);
}

async function isSubscriber(api: ModuleApi, { asked, stanza }: IqRequest): Promise<boolean> {
  const roster = await api.rosters.load(asked);
  const subscription = roster.items.get(stanza.from.bare.toString())?.subscription;
  return subscription === "from" || subscription === "both";
}

function infoOf(api: ModuleApi, { target }: IqRequest): Element {
  return infoElement(api.announced(target));
}

function infoElement({ identities = [], features = [] }: DiscoNode, node?: string): Element {
  return xml(
    "query",
    { xmlns: NS.discoInfo, node },
    ...identities.map(({ category, type, name }) => xml("identity", { category, type, name })),
    ...features.map((namespace) => xml("feature", { var: namespace })),
  );
}

function itemsOf(api: ModuleApi, { target, asked }: IqRequest): Element {
  const sessions = target === "host" ? [] : api.sessionsOf(asked).filter((session) => session.presence !== undefined);
  return itemsElement(sessions.map((session) => ({ jid: session.jid.toString() })));
}

function itemsElement(items: readonly DiscoItem[], node?: string): Element {
  const elements = items.map((item) => xml("item", { jid: item.jid, node: item.node, name: item.name }));
  return xml("query", { xmlns: NS.discoItems, node }, ...elements);
}
