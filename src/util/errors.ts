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

/** Returns `thrown` as an Error: itself, or a new one that says what was thrown. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

/** Returns the `code` of a system or Morendo error, such as `ECONNREFUSED`, if it has one. */
export function codeOf(thrown: unknown): string | undefined {
  if (typeof thrown !== "object" || thrown === null || !("code" in thrown)) return undefined;
  return typeof thrown.code === "string" ? thrown.code : undefined;
}
