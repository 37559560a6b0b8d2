// What a module's participant is told of its phase and may do in it: the pipeline's own context, behind checks that refuse
// what comes when the participant is over and what nobody could print.

import type { Lease, PhaseContext, Progress } from "../shutdown/types.ts";
import type { Faults } from "./module-faults.ts";
import type { PhaseName } from "./phases.ts";

/** The longest name of a lease. */
const MAX_NAME = 1_024;

/** The module that the context is for. */
export interface ContextOwner {
  readonly faults: Faults;
  /** Takes a lease into the module's keeping; what it returns is given to the module. */
  keep(lease: Lease): Lease;
}

/** Returns the context of the participant `name`. */
export function moduleContext<Phase extends string = PhaseName>(
  name: string,
  context: PhaseContext<Phase>,
  { faults, keep }: ContextOwner,
): PhaseContext<Phase> {
  const { phase, cause, reason, signal } = context;
  const mustBeOpen = (what: string): void => {
    if (!signal.aborted && context.remaining() > 0) return;
    throw faults.refuse("MORENDO_PHASE_OVER", what, `"${name}" is over in phase "${phase}"`);
  };
  return {
    phase,
    cause,
    reason,
    get announcement() {
      return context.announcement;
    },
    signal,
    get deadline() {
      return context.deadline;
    },
    remaining: () => context.remaining(),
    lease: (leaseName) => {
      checkName(leaseName, faults);
      mustBeOpen(`lease "${leaseName}"`);
      return keep(context.lease(leaseName));
    },
    progress: (progress) => {
      mustBeOpen("progress");
      context.progress(checkedProgress(progress, faults));
    },
  };
}

/** Names end up in the report, which nobody could write or read otherwise. */
function checkName(name: unknown, faults: Faults): void {
  if (typeof name === "string" && name.length <= MAX_NAME) return;
  const why = `its name is not a text of at most ${MAX_NAME} characters`;
  throw faults.refuse("MORENDO_MODULE_MISUSE", "lease", why);
}

/** A copy of plain numbers and texts: it is read later, where nobody could say whose fault it is. */
function checkedProgress(progress: Progress, faults: Faults): Progress {
  const { done, total, blockers = [] } = (progress ?? {}) as Partial<Progress>;
  const isList = Array.isArray(blockers) && blockers.every((name) => typeof name === "string");
  if (typeof done === "number" && typeof total === "number" && isList) return { done, total, blockers: [...blockers] };
  throw faults.refuse("MORENDO_MODULE_MISUSE", "progress", "it is not { done, total, blockers? }");
}
