// Software Version (XEP-0092): tells the name and version of the server, unless the operator prefers silence.

import { defineModule, z } from "../../src/module.ts";
import { xml } from "../../src/xml/element.ts";
import { NS } from "../../src/xml/ns.ts";

export default defineModule({
  name: "version",
  options: z.strictObject({
    /** Tells neither name nor version. */
    hide: z.boolean().default(false),
  }),
  load(api, { hide }) {
    if (hide) return;
    api.feature(NS.version);
    api.hook(`iq/get/${NS.version}`, ({ target }) => {
      if (target !== "host") return undefined;
      const version = xml("version", {}, api.serverVersion);
      return xml("query", { xmlns: NS.version }, xml("name", {}, "Morendo"), version);
    });
  },
});
