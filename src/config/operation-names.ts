// The closed list of what an operator can ask for, whatever the door: the configuration grants rights by these names, and
// src/operations/table.ts has the operation for each. docs/OPERATORS.md describes them.

/** The operations by name. */
export const OPERATION_NAMES = [
  "status",
  "plan",
  "report",
  "watch",
  "stop",
  "cancel",
  "announce",
  "restart",
  "suspend",
  "resume",
  "evacuate",
  "reload",
  "session.list",
  "session.end",
  "journal.list",
  "journal.drop",
  "journal.retry",
  "module.list",
  "module.load",
  "module.unload",
  "module.reload",
  "user.add",
  "user.passwd",
  "user.remove",
  "user.list",
  "user.roster",
  "user.check",
  "user.import",
] as const;

export type OperationName = (typeof OPERATION_NAMES)[number];
