// A module for tests: it takes a while to let a session go, and writes down whom it was told of.

import { defineModule } from "../../../../src/module.ts";

/** `bound ID`, `ending ID` and `ended ID`, in order. */
export const told: string[] = [];

export default defineModule({
  name: "slow-goodbye",
  load(api) {
    api.on("session/bound", (session) => told.push(`bound ${session.id}`));
    api.on("session/ended", ({ session }) => told.push(`ended ${session.id}`));
    api.hook("session/ending", ({ session }) => {
      told.push(`ending ${session.id}`);
      return api.clock.sleep(100).then(() => undefined);
    });
  },
});
