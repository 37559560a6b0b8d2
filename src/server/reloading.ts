// Takes another configuration into a running server: everything is checked before anything is put in place, and then all of
// it is, or nothing. Options that need a new process are only named. Not for: reading the file (src/config/load.ts), nor
// for what a part does with its options.

import { type Change, changesBetween, type LiveConfig } from "../config/changes.ts";
import { ConfigError } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import type { LifecycleState } from "../shutdown/types.ts";
import { asError, MorendoError } from "../util/errors.ts";
import type { Logger } from "../util/log.ts";
import type { CertificateReload } from "./certificates.ts";
import type { ModuleChange, ModuleSettings } from "./module-change.ts";
import type { ModuleLoader } from "./module-loader.ts";

/** Something that is to be checked, and put in place, beside the values of the options. */
export interface ReloadPart {
  /**
   * Checks what `next` asks of this part and returns what puts it in place, which must not fail and is called once the
   * values of the configuration are the new ones, if at all. Rejects with a MorendoError, whose message may have several
   * lines, when it will not do; then nothing of `next` is taken in.
   */
  prepare(next: Config): Promise<() => void> | (() => void);
}

/** What a reload has done. */
export interface ReloadResult {
  /** The options that have changed and are in force. */
  readonly applied: readonly string[];
  /** The options that have changed and take a new process: they are as before. */
  readonly restart: readonly string[];
  /** The hosts whose certificate is another one than before. */
  readonly certificates: readonly string[];
  readonly modules: ModuleChange;
}

/** What a reload works on. */
export interface ReloadingOptions {
  readonly live: LiveConfig;
  readonly modules: Pick<ModuleLoader, "checkChange" | "change">;
  /** Whether the entries of `modules` count: they do not where a program brought its modules along. */
  readonly hasOwnModules: boolean;
  readonly certificates: CertificateReload;
  /** What else has something to check. */
  readonly parts: readonly ReloadPart[];
  /** Tells the parts that compute something from options that these have changed. */
  reconfigured(): void;
  state(): LifecycleState;
  /** Whether a restart is under way: the new process reads the configuration itself. */
  isRestarting(): boolean;
  readonly log: Logger;
}

/** The states in which a configuration can be taken in. */
const STATES: ReadonlySet<LifecycleState> = new Set<LifecycleState>(["running", "suspending", "suspended"]);

/** Takes configurations in, one after the other. */
export class Reloading {
  #options: ReloadingOptions;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(options: ReloadingOptions) {
    this.#options = options;
  }

  /**
   * Takes `next` in. What is asked for while another reload is under way waits for its turn. Rejects, with everything as
   * before, with a ConfigError that lists all problems, or with `MORENDO_STOPPING` or `MORENDO_RESTARTING` when the server
   * goes down or hands itself over.
   */
  run(next: Config): Promise<ReloadResult> {
    const result = this.#afterOthers(next);
    this.#queue = result.catch(() => undefined);
    return result;
  }

  /** Resolves when no reload is under way. */
  async idle(): Promise<void> {
    await this.#queue;
  }

  async #afterOthers(next: Config): Promise<ReloadResult> {
    await this.#queue;
    return await this.#run(next);
  }

  async #run(next: Config): Promise<ReloadResult> {
    this.#mustServe();
    const { live, modules, reconfigured } = this.#options;
    const changes = changesBetween(live.current, next);
    const [from, to] = [this.#moduleSettings(live.current), this.#moduleSettings(next)];
    const commits = await this.#prepare(next, () => modules.checkChange(from, to));
    const certificates = this.#options.certificates.changed;
    this.#mustServe();
    // Modules are the only part that can still refuse, and then puts itself back.
    const changed = await this.#orConfigError(() => modules.change(from, to));
    live.apply(next);
    reconfigured();
    for (const commit of commits) this.#commit(commit);
    return { ...sorted(changes), certificates, modules: changed };
  }

  /** Checks everything, so that all problems are told at once. */
  async #prepare(next: Config, checkModules: () => Promise<unknown>): Promise<readonly (() => void)[]> {
    const commits: (() => void)[] = [];
    const problems: string[] = [];
    const noting = async (work: () => unknown): Promise<void> => {
      try {
        await work();
      } catch (thrown) {
        problems.push(...linesOf(thrown));
      }
    };
    const { certificates, parts } = this.#options;
    for (const part of [certificates, ...parts]) await noting(async () => commits.push(await part.prepare(next)));
    await noting(checkModules);
    if (problems.length > 0) throw configError(problems);
    return commits;
  }

  async #orConfigError<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      return await work();
    } catch (thrown) {
      throw configError(linesOf(thrown));
    }
  }

  #commit(commit: () => void): void {
    try {
      commit();
    } catch (thrown) {
      // A bug, or the disk has changed since it was checked: the others must still have their new values.
      this.#options.log.error({ err: asError(thrown) }, "a part of the server could not take its new options in");
    }
  }

  #mustServe(): void {
    const { state, isRestarting } = this.#options;
    if (!STATES.has(state())) {
      throw new MorendoError("MORENDO_STOPPING", `the configuration cannot be reloaded: the server is ${state()}`);
    }
    if (isRestarting()) {
      const message =
        "the configuration cannot be reloaded: a restart is under way, and the new process reads it itself";
      throw new MorendoError("MORENDO_RESTARTING", message);
    }
  }

  #moduleSettings({ modules, module }: Config): ModuleSettings {
    return { entries: this.#options.hasOwnModules ? modules : [], options: module };
  }
}

/** Only what is meant for people becomes a problem of the configuration; anything else is a bug. */
function linesOf(thrown: unknown): string[] {
  if (thrown instanceof MorendoError) return thrown.message.split("\n");
  throw thrown;
}

function configError(problems: readonly string[]): ConfigError {
  return new ConfigError(problems.map((message) => ({ place: undefined, option: undefined, message })));
}

function sorted(changes: readonly Change[]): Pick<ReloadResult, "applied" | "restart"> {
  const names = (needsRestart: boolean): string[] =>
    changes.filter((change) => change.needsRestart === needsRestart).map(({ option }) => option);
  return { applied: names(false), restart: names(true) };
}
