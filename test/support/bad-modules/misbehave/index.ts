// A module that behaves as badly in the shutdown as its option says: what the pipeline must survive.

import { defineModule, z } from "../../../../src/module.ts";

export default defineModule({
  name: "misbehave",
  options: z.strictObject({ how: z.enum(["throw", "reject", "hang", "block"]) }),
  load(api, { how }) {
    api.on("server-stopping", (event) => {
      if (how === "throw") throw new Error("thrown on purpose");
      if (how === "reject") event.waitUntil(Promise.reject(new Error("rejected on purpose")));
      if (how === "hang") event.waitUntil(new Promise(() => undefined));
      if (how === "block") for (;;) api.clock.now();
    });
  },
});
