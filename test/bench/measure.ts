// How long a piece of work takes, and how much of the processor. Not for: rates over a while (costs.ts).

/** What a piece of work took. */
export interface Measured {
  readonly ms: number;
  /** Microseconds of processor time, of this process's. */
  readonly processorUs: number;
}

/** Does the work and measures it. */
export async function measured(work: () => Promise<void>): Promise<Measured> {
  const cpu = process.cpuUsage();
  const began = performance.now();
  await work();
  const ms = performance.now() - began;
  const { user, system } = process.cpuUsage(cpu);
  return { ms, processorUs: user + system };
}
