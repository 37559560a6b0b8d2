// One thing that should be gone and is not.

/** What kind of thing is left. */
export type LeftoverKind = "handle" | "request" | "timer" | "listener" | "file" | "socket" | "worker" | "child process";

/** Something that is left. */
export interface Leftover {
  readonly kind: LeftoverKind;
  /** Which one: an address, a path, a name. */
  readonly what: string;
  /** The lines of the stack that made it, where that is known. */
  readonly madeAt?: string;
}

/** Returns the lines of a stack that say who called, without the kit's own bookkeeping and without Node. */
export function callersIn(stack: string | undefined): string {
  return (stack ?? "")
    .split("\n")
    .slice(1)
    .filter((line) => !line.includes("/testing/leaks/") && !line.includes("(node:") && !line.includes("at node:"))
    .join("\n");
}

/** Says what is left, a paragraph for each. */
export function describeLeftovers(left: readonly Leftover[]): string {
  return left.map(({ kind, what, madeAt = "" }) => `${kind}: ${what}${madeAt === "" ? "" : `\n${madeAt}`}`).join("\n");
}
