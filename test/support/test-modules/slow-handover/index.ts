// A module for tests that takes its time to hand over, so that the moment in which nobody serves is long enough to do
// something in it.

import { defineModule, z } from "../../../../src/module.ts";

export default defineModule({
  name: "slow-handover",
  options: z.strictObject({ save_ms: z.int().default(1_000) }),
  load(api, { save_ms }) {
    api.handover({
      version: 1,
      save: async () => {
        await api.clock.sleep(save_ms);
        return "";
      },
      load: () => undefined,
    });
  },
});
