// A module for tests that does not give the event loop back in a phase of a shutdown.

import { defineModule, z } from "../../../../src/module.ts";

const PHASES = ["announce", "stop-accepting", "close-sessions", "server-stopping", "drain-s2s", "quit"] as const;

export default defineModule({
  name: "blocker",
  options: z.strictObject({ phase: z.enum(PHASES), ms: z.int().positive() }),
  load(api, { phase, ms }) {
    api.phase(phase, { when: "during" }, async () => blockTheLoop(ms));
  },
});

function blockTheLoop(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}
