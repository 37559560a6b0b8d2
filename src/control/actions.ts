// The one table of what can be asked for over the control socket. A new action is a new entry here, and nothing else.

import { z } from "zod";
import { type ActionTable, action, noArguments } from "./action.ts";
import { describeOutcome } from "./restart-action.ts";
import type { Restart, ServerPort } from "./server-port.ts";
import { accountEntry, type UserAdmin } from "./user-admin.ts";

/** What the actions work on. */
export interface ActionContext {
  readonly server: ServerPort;
  /** Hands the server over to a new process. */
  readonly restart: Restart;
  readonly users: Pick<UserAdmin, "add" | "setPassword" | "remove" | "list" | "check" | "import">;
}

const text = z.string().min(1).max(1_000);
const account = z.strictObject({ jid: z.string() });
const login = z.strictObject({ jid: z.string(), password: z.string() });
const entries = z.strictObject({ accounts: z.array(accountEntry) });

const stopArguments = z.strictObject({
  reason: z.string().max(1_000).default("stopped by the operator"),
  /** Tells every step by `progress` events, and answers with the drain report when the run is over. */
  follow: z.boolean().default(false),
  budgetMs: z.int().nonnegative().optional(),
});

const restartArguments = z.strictObject({
  reason: z.string().max(1_000).default("restarted by the operator"),
  /** Another program and its arguments, instead of the same ones. */
  program: z.array(z.string().min(1)).min(1).max(1_000).optional(),
});

const cancelArguments = z.strictObject({ reason: z.string().max(1_000).default("cancelled by the operator") });

/** Returns the table of actions. */
export function controlActions({ server, users, restart }: ActionContext): ActionTable {
  return {
    status: action(noArguments, () => server.status()),

    /** What a stop would do now. */
    plan: action(noArguments, () => server.plan()),

    stop: action(stopArguments, async ({ reason, follow, budgetMs }, call) => {
      const { lifecycle } = server;
      const forget = follow ? lifecycle.on("progress", (progress) => call.emit("progress", progress)) : undefined;
      const budget = budgetMs === undefined ? {} : { budgetMs };
      const report = lifecycle.stop({ cause: "stop", reason, trigger: "control socket", ...budget });
      if (forget === undefined) return { state: lifecycle.state };
      try {
        return await report;
      } finally {
        forget();
      }
    }),

    /** Brings the server back from a stop; answers with whether it could, and if not, why. */
    cancel: action(cancelArguments, ({ reason }) => server.lifecycle.cancel({ reason, trigger: "control socket" })),

    /** Hands the server over to a new process; answers with how that went, and tells each step by `step` events. */
    restart: action(restartArguments, async ({ reason, program }, call) => {
      const outcome = await restart({
        reason,
        trigger: "control socket",
        onStep: (step) => call.emit("step", step),
        ...(program === undefined ? {} : { program }),
      });
      return describeOutcome(outcome, process.pid);
    }),

    "module.list": action(noArguments, () => server.modules.list()),
    /** Answers with the module's name. */
    "module.load": action(z.strictObject({ entry: text }), ({ entry }) => server.modules.add(entry)),
    "module.unload": action(z.strictObject({ name: text }), ({ name }) => server.modules.remove(name)),
    "module.reload": action(z.strictObject({ name: text }), ({ name }) => server.modules.reload(name)),

    "user.add": action(login, ({ jid, password }) => users.add(jid, password)),
    "user.passwd": action(login, ({ jid, password }) => users.setPassword(jid, password)),
    "user.remove": action(account, ({ jid }) => users.remove(jid)),
    "user.list": action(z.strictObject({ host: z.string().optional() }), ({ host }) => users.list(host)),
    /** Says what is wrong with the accounts, without creating any. */
    "user.check": action(entries, ({ accounts }) => users.check(accounts)),
    "user.import": action(entries, ({ accounts }) => users.import(accounts)),
  };
}
