// The one base class of the errors Morendo throws, and help for errors of unknown origin. Protocol faults and expected
// outcomes are values, not errors: see stanza/ for those.

/** An error with a stable code, thrown for broken I/O and for wrong use of an API. */
export class MorendoError extends Error {
  /** A stable name in capitals, such as `MORENDO_PORT_TAKEN`, that programs may compare. */
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "MorendoError";
    this.code = code;
  }
}

/**
 * Returns `thrown` as an Error: itself, or a new one that says what was thrown. Never throws, and what it returns has a
 * message and a stack that are text: what was thrown may be anything, also an object that resists being read.
 */
export function asError(thrown: unknown): Error {
  try {
    if (!(thrown instanceof Error)) return new Error(String(thrown));
    const { message, stack } = thrown;
    if (typeof message === "string" && (stack === undefined || typeof stack === "string")) return thrown;
    return new Error(String(message));
  } catch {
    return new Error("something was thrown that cannot be read");
  }
}

/** Returns the `code` of a system or Morendo error, such as `ECONNREFUSED`, if it has one. */
export function codeOf(thrown: unknown): string | undefined {
  if (typeof thrown !== "object" || thrown === null || !("code" in thrown)) return undefined;
  return typeof thrown.code === "string" ? thrown.code : undefined;
}
