// XMPP Ping (XEP-0199): answers that the host, or one's own account, is there.

import { defineModule, type IqAnswer, type IqRequest } from "../../src/module.ts";
import { NS } from "../../src/xml/ns.ts";

export default defineModule({
  name: "ping",
  load(api) {
    api.feature(NS.ping);
    api.hook(`iq/get/${NS.ping}`, answer);
  },
});

// An account answers only itself: to others its existence is nothing to be found out (RFC 6120 §13.11).
function answer({ target, asked, session }: IqRequest): IqAnswer | undefined {
  return target === "host" || session?.account.equals(asked) ? "empty" : undefined;
}
