// A module for tests that fails, or takes its time, where its option says: as it loads, or as it takes over what the same
// module handed over in another process.

import { defineModule, z } from "../../../../src/module.ts";

const HOW = ["nothing", "large"] as const;
const WHAT = ["throw", "hang", "terminate"] as const;
const WHERE = ["load", "handover"] as const;
const how = [...HOW, ...WHAT.flatMap((what) => WHERE.map((where) => `${what} at ${where}` as const))] as const;

export default defineModule({
  name: "faulty-handover",
  options: z.strictObject({ how: z.enum(how).default("nothing") }),
  async load(api, { how }) {
    const happen = async (where: (typeof WHERE)[number]): Promise<void> => {
      if (how === `throw at ${where}`) throw new Error("thrown on purpose");
      if (how === `hang at ${where}`) await new Promise(() => undefined);
      if (how !== `terminate at ${where}`) return;
      process.kill(process.pid, "SIGTERM");
      // Until the signal has been heard.
      await api.clock.sleep(100);
    };
    api.handover({
      version: 1,
      // More than the kernel keeps in a socket's buffer: it is still being written when the successor reads its beginning.
      save: () => (how === "large" ? "x".repeat(3 * 1024 * 1024) : "small"),
      load: () => happen("handover"),
    });
    await happen("load");
  },
});
