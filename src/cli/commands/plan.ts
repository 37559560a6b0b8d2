// `morendo plan`: what a stop would do now. It changes nothing.

import { Command, type Option } from "commander";
import type { PlannedParticipant, PlannedPhase, ShutdownPlan } from "../../server/plan.ts";
import type { PlanNumbers } from "../../server/plan-numbers.ts";
import { formatDuration } from "../../util/units.ts";
import { askServer } from "../ask-server.ts";
import type { ConfigOption } from "../config-option.ts";
import { type Io, say } from "../io.ts";
import type { Finish } from "../program.ts";

const TIMEOUT_MS = 60_000;

const HELP = `
Nothing is changed by it. The estimate goes by the last run's report; where there is none, or it tells nothing about
what there is to do now, only the bounds are printed.`;

/** Returns the `plan` command. */
export function planCommand(io: Io, configOption: () => Option, finish: Finish): Command {
  return new Command("plan")
    .description("say what a stop would do now, phase by phase, and how long it may take (exit code 1 when none runs)")
    .addOption(configOption())
    .option("--json", "print the whole plan as JSON", false)
    .addHelpText("after", HELP)
    .action(async (options: ConfigOption & { readonly json: boolean }) => {
      const answer = await askServer(io, options, { operation: "plan", timeoutMs: TIMEOUT_MS });
      const plan = answer as ShutdownPlan;
      say(io, options.json ? JSON.stringify(plan, undefined, 2) : describePlan(plan));
      finish(0);
    });
}

/** Returns the plan for people. */
export function describePlan({ budgetMs, delayMs, phases, numbers, estimate }: ShutdownPlan): string {
  const delay = delayMs === 0 ? "" : ` after a delay of ${formatDuration(delayMs)}`;
  const lines = [
    `A stop now would have ${formatDuration(budgetMs)}${delay}:`,
    "",
    row(["phase", "up to", "floor", "ceiling"], "who"),
  ];
  let isCancellable = true;
  for (const phase of phases) {
    if (isCancellable && !phase.cancellable) lines.push("  - - - from here on it cannot be cancelled - - -");
    isCancellable = phase.cancellable;
    lines.push(...phaseRows(phase));
  }
  lines.push("", "There is to do:", ...describeNumbers(numbers).map((line) => `  ${line}`), "");
  const { fromMs, toMs, atMostMs, basis } = estimate;
  if (fromMs === undefined || toMs === undefined) lines.push(`Estimate: ${basis}`);
  else {
    const range = [...new Set([formatDuration(fromMs), formatDuration(toMs)])].join(" to ");
    lines.push(`Estimate: ${range}, going by ${basis}`);
    for (const phase of estimate.phases) {
      const share = [...new Set([formatDuration(phase.fromMs), formatDuration(phase.toMs)])].join(" to ");
      lines.push(`  ${phase.name.padEnd(16)}${share.padEnd(18)}${phase.basis}`);
    }
  }
  lines.push(`In any case it is over within ${formatDuration(atMostMs)}.`);
  return lines.join("\n");
}

function row([name = "", ...times]: readonly string[], who: string): string {
  return `  ${name.padEnd(16)}${times.map((time) => time.padEnd(9)).join("")}${who}`.trimEnd();
}

function phaseRows({ name, optional, budgetMs, floorMs, ceilingMs, participants }: PlannedPhase): string[] {
  const groups = (["before", "during", "after"] as const).flatMap((when) => {
    const group = participants.filter((participant) => participant.when === when);
    if (group.length === 0) return [];
    return [`${when === "during" ? "" : `${when}: `}${group.map(describeParticipant).join(", ")}`];
  });
  const [first = "nobody", ...rest] = optional && budgetMs === 0 ? ["only when asked for", ...groups] : groups;
  const times = [budgetMs, floorMs, ceilingMs].map((ms) => (optional && ms === 0 ? "-" : formatDuration(ms)));
  return [row([name, ...times], first), ...rest.map((group) => row(["", "", "", ""], group))];
}

function describeParticipant({ name, limitMs }: PlannedParticipant): string {
  return limitMs === undefined ? name : `${name} (${formatDuration(limitMs)})`;
}

function describeNumbers({
  sessions,
  available,
  resumable,
  notLoggedIn,
  goodbyes,
  remote,
  stanzas,
}: PlanNumbers): string[] {
  const cold = [
    `${remote.cold} cold`,
    ...(remote.cold === 0 ? [] : [` (${remote.coldWithQueue} with stanzas waiting): ${remote.coldNames.join(", ")}`]),
    ...(remote.cold > remote.coldNames.length ? [` and ${remote.cold - remote.coldNames.length} more`] : []),
  ].join("");
  return [
    `sessions     ${sessions}, of which ${available} available, ${resumable} to be resumed after a start; ${notLoggedIn} connections that have not logged in`,
    `goodbyes     ${goodbyes.remote} to other servers, ${goodbyes.local} here (by the rosters of who is available)`,
    `domains      ${remote.warm} warm, ${cold}`,
    `stanzas      ${stanzas.queued} waiting for other servers, ${stanzas.unproved} sent without proof so far`,
  ];
}
