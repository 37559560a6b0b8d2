// The participants that a module becomes in phases and suspensions: when and for how long is checked, several of one module
// are told apart by name, and each gets a context that refuses what comes too late (module-context.ts). Not for: attaching
// them, and taking them back (loaded-module.ts).

import type { SuspendContext, SuspendParticipant, SuspendStep } from "../shutdown/suspend-types.ts";
import type { Participant, PhaseContext } from "../shutdown/types.ts";
import { parseDuration } from "../util/units.ts";
import type { ServerStopping } from "./catalogue.ts";
import type { PhaseOptions, SuspendHooks, SuspendOptions } from "./module-api.ts";
import { type ContextOwner, moduleContext } from "./module-context.ts";
import type { PhaseName } from "./phases.ts";
import { runListener } from "./stopping-listener.ts";

/** Makes the participants of one module. */
export class Participation {
  #module: string;
  #owner: ContextOwner;
  /** How many of each name there are in each phase. */
  #counts = new Map<string, number>();

  constructor(module: string, owner: ContextOwner) {
    this.#module = module;
    this.#owner = owner;
  }

  /** Returns the participant of `ModuleApi.phase`; throws `MORENDO_MODULE_MISUSE`. */
  phase(
    phase: PhaseName,
    options: PhaseOptions,
    run: (context: PhaseContext<PhaseName>) => void | Promise<void>,
  ): Participant<PhaseName> {
    const { when, cancelled } = options;
    const timeoutMs = this.#limit("phase", options.timeout);
    if (phase === "quit" && when === "after") {
      const why = 'modules are unloaded in "quit": take part "before" it';
      throw this.#owner.faults.refuse("MORENDO_MODULE_MISUSE", "phase", why);
    }
    const name = this.#numbered(phase, this.#named(options.name));
    return {
      name,
      // What the phase itself does at the end is unloading modules and closing the store.
      ...(phase === "quit" ? { when: "before" } : when !== undefined && { when }),
      ...(timeoutMs !== undefined && { timeoutMs }),
      run: (context) => run(moduleContext(name, context, this.#owner)),
      ...(cancelled !== undefined && { cancelled: () => cancelled() }),
    };
  }

  /** Returns the participant that a listener to `server-stopping` is. */
  stopping(listener: (event: ServerStopping) => void): Participant<PhaseName> {
    const name = this.#numbered("server-stopping", this.#module);
    return {
      name,
      run: (context) => runListener(listener, moduleContext(name, context, this.#owner), this.#owner.faults),
    };
  }

  /** Returns the participant of `ModuleApi.suspend`; throws `MORENDO_MODULE_MISUSE`. */
  suspension(hooks: SuspendHooks, options: SuspendOptions): SuspendParticipant {
    const { modes } = options;
    const timeoutMs = this.#limit("suspend", options.timeout);
    const name = this.#named(options.name);
    const { prepare, suspend, resume } = hooks;
    const contextFor = (context: SuspendContext): SuspendContext => {
      const { mode } = context;
      return Object.assign(moduleContext<SuspendStep>(name, context, this.#owner), { mode });
    };
    return {
      name,
      ...(timeoutMs !== undefined && { timeoutMs }),
      ...(modes !== undefined && { modes: [...modes] }),
      ...(prepare !== undefined && { prepare: (context) => prepare.call(hooks, contextFor(context)) }),
      ...(suspend !== undefined && { suspend: (context) => suspend.call(hooks, contextFor(context)) }),
      ...(resume !== undefined && { resume: (context) => resume.call(hooks, context) }),
    };
  }

  #limit(what: string, timeout: string | undefined): number | undefined {
    if (timeout === undefined) return undefined;
    const ms = parseDuration(timeout);
    if (ms !== undefined) return ms;
    throw this.#owner.faults.refuse("MORENDO_MODULE_MISUSE", what, `"${timeout}" is not a duration such as "2s"`);
  }

  #named(suffix: string | undefined): string {
    return suffix === undefined ? this.#module : `${this.#module}: ${suffix}`;
  }

  /** Several participants of a phase are told apart in the report: `name`, `name (2)`. */
  #numbered(phase: PhaseName, name: string): string {
    const key = `${phase} ${name}`;
    const number = (this.#counts.get(key) ?? 0) + 1;
    this.#counts.set(key, number);
    return number === 1 ? name : `${name} (${number})`;
  }
}
