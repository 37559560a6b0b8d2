// Entity Time (XEP-0202): tells the host's time, in UTC: where the machine stands is nobody's business.

import { defineModule } from "../../src/module.ts";
import { xml } from "../../src/xml/element.ts";
import { NS } from "../../src/xml/ns.ts";

export default defineModule({
  name: "time",
  load(api) {
    api.feature(NS.time);
    api.hook(`iq/get/${NS.time}`, ({ target }) => {
      if (target !== "host") return undefined;
      const utc = new Date(api.clock.wallTime()).toISOString();
      return xml("time", { xmlns: NS.time }, xml("tzo", {}, "+00:00"), xml("utc", {}, utc));
    });
  },
});
