// Resource binding as it stands on the wire (RFC 6120 §7).

import { StanzaError } from "../../stanza/stanza-error.ts";
import { type Element, xml } from "../../xml/element.ts";
import { NS } from "../../xml/ns.ts";

/** What a client asks for before it has a resource. */
export type BindRequest =
  | { readonly kind: "bind"; readonly id: string; readonly resource: string | undefined }
  /** A malformed request, with the reply it gets. */
  | { readonly kind: "refused"; readonly reply: Element }
  | { readonly kind: "other" };

/** Reads the request to bind a resource. An empty `<resource/>` counts as none: the server picks one. */
export function readBindRequest(element: Element): BindRequest {
  const bind = element.name === "iq" ? element.getChild("bind", NS.bind) : undefined;
  if (bind === undefined) return { kind: "other" };
  const { id, type } = element.attrs;
  if (id === undefined || id === "" || type !== "set") {
    const reply = xml("iq", { type: "error", id }, new StanzaError("bad-request").toElement());
    return { kind: "refused", reply };
  }
  const resource = bind.getChildText("resource")?.trim();
  return { kind: "bind", id, resource: resource === "" ? undefined : (resource ?? undefined) };
}
