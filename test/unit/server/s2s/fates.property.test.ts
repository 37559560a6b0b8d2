import assert from "node:assert/strict";
import fc from "fast-check";
import { ManualClock } from "../../../../src/testing/manual-clock.ts";
import type { Custom } from "../../../../src/testing/peer/script.ts";
import type { ScriptedPeer } from "../../../../src/testing/scripted-peer.ts";
import {
  advanceUntil,
  answersPingsOf,
  type PeerSetup,
  phaseOf,
  type Routes,
  Side,
  startPeer,
} from "../../../support/federation.ts";

const BEHAVIOURS = [
  "acks",
  "pongs",
  "no-proof",
  "mute",
  "no-closing",
  "resets",
  "closes-first",
  "refuses",
  "unknown",
] as const;
type Behaviour = (typeof BEHAVIOURS)[number];

/** A peer of a kind; `after` counts the stanzas before it does what it does, `times` how often it does it. */
function setupOf(behaviour: Behaviour, after: number, times: number, side: () => Side): PeerSetup {
  const answers =
    behaviour === "no-proof" || behaviour === "no-closing" ? ({} as const) : { pong: answersPingsOf(side) };
  let left = times;
  /** What is done `times` times when a connection has brought enough. */
  const failing =
    (fails: "reset" | "close"): Custom =>
    ({ handled }) => {
      if (handled < after || left === 0) return "ordinary";
      left--;
      return fails;
    };
  return {
    abilities: { sm: behaviour === "acks" },
    script: {
      ...answers,
      ...(behaviour === "mute" ? { header: "ignore" } : {}),
      ...(behaviour === "no-closing" ? { closing: "ignore" } : {}),
      ...(behaviour === "resets" ? { stanza: failing("reset") } : {}),
      ...(behaviour === "closes-first" ? { stanza: failing("close") } : {}),
    },
  };
}

describe("the fate of every stanza", () => {
  it("is told exactly once, whatever the peers do and whenever the drain comes", async function () {
    this.timeout(60_000);
    const plan = fc.array(
      fc.record({
        behaviour: fc.constantFrom(...BEHAVIOURS),
        after: fc.integer({ min: 0, max: 12 }),
        times: fc.integer({ min: 1, max: 3 }),
        messages: fc.integer({ min: 0, max: 10 }),
        presences: fc.integer({ min: 0, max: 10 }),
      }),
      { minLength: 1, maxLength: 5 },
    );
    const property = fc.asyncProperty(
      plan,
      fc.boolean(),
      fc.integer({ min: 0, max: 3_000 }),
      fc.constantFrom(500, 5_000, 20_000),
      async (domains, sendersPresent, waitMs, budgetMs) => {
        const clock = new ManualClock();
        const routes: Routes = new Map();
        const a = await new Side({ host: "a.test", clock, routes, sendersPresent }).start();
        const peers: ScriptedPeer[] = [];
        let sent = 0;
        for (const [index, { behaviour, after, times, messages, presences }] of domains.entries()) {
          const domain = `d${index}.test`;
          if (behaviour === "refuses") routes.set(domain, { host: "127.0.0.1", port: 1 });
          else if (behaviour !== "unknown") {
            const setup = setupOf(behaviour, after, times, () => a);
            peers.push(await startPeer(domain, { clock, routes }, setup));
          }
          for (let n = 0; n < messages; n++) a.message(`m${n}`, `x@${domain}`);
          a.presence(presences, `x@${domain}`, "unavailable");
          sent += messages + presences;
        }
        await clock.advance(waitMs);
        const phase = phaseOf(clock, budgetMs);
        let over = false;
        const drained = a.s2s.drain(phase).then(() => {
          over = true;
        });
        const late = domains.length;
        for (let index = 0; index < late; index++) a.message("late", `x@d${index}.test`);
        sent += late;
        await advanceUntil(clock, () => over, "the drain is over", budgetMs + 1);
        await drained;
        phase.end();
        assert.equal(a.fates.length, sent);
        assert.equal(a.s2s.status().queued, 0);
        for (const { fate, name } of a.fates) assert.equal(fate === "lost", name !== undefined);
        if (sendersPresent) assert.equal(a.returned.length, a.fates.filter(({ fate }) => fate === "returned").length);
        for (const peer of peers) await peer.stop();
      },
    );
    await fc.assert(property, { seed: 20_261_121, numRuns: 60 });
  });
});
