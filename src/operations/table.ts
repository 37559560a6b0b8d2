// The one table of what an operator can ask for. A new operation is a new name in src/config/operation-names.ts, a new entry
// here, and nothing else: every door offers it.

import { z } from "zod";
import type { OperationName } from "../config/operation-names.ts";
import { MorendoError } from "../util/errors.ts";
import {
  dropFromJournal,
  journalDropArguments,
  journalListArguments,
  journalRetryArguments,
  listJournal,
  retryFromJournal,
} from "./journal.ts";
import { type Caller, change, noArguments, type Operation, read } from "./operation.ts";
import { describeOutcome } from "./restart-result.ts";
import type { Reload, Restart, ServerPort } from "./server-port.ts";
import { endArguments, endSessions, listSessions, sessionsArguments } from "./sessions.ts";
import { announceArguments, evacuateArguments, follow, scheduleOf, scheduleShape, stopArguments } from "./stopping.ts";
import { accountEntry, type UserAdmin } from "./user-admin.ts";
import { watch } from "./watch.ts";

/** What the operations work on. */
export interface OperationContext {
  readonly server: ServerPort;
  /** Hands the server over to a new process. */
  readonly restart: Restart;
  /** Reads the configuration anew and takes it in. */
  readonly reload: Reload;
  readonly users: Pick<UserAdmin, "add" | "setPassword" | "remove" | "list" | "check" | "import" | "roster">;
}

/** The operation for each name. */
export type OperationTable = Readonly<Record<OperationName, Operation>>;

const text = z.string().min(1).max(1_000);
const account = z.strictObject({ jid: z.string() });
const login = z.strictObject({ jid: z.string(), password: z.string() });
const entries = z.strictObject({ accounts: z.array(accountEntry) });

const restartArguments = z.strictObject({
  reason: z.string().max(1_000).default("restarted by the operator"),
  /** Another program and its arguments, instead of the same ones. */
  program: z.array(z.string().min(1)).min(1).max(1_000).optional(),
  ...scheduleShape,
});

const suspendArguments = z.strictObject({
  reason: z.string().max(1_000).default("suspended by the operator"),
  /** What is left out is as configured. */
  mode: z.enum(["hold", "refuse"]).optional(),
  timeoutMs: z.int().positive().optional(),
  onTimeout: z.enum(["back", "stay"]).optional(),
  /** Tells every step by `progress` events. */
  follow: z.boolean().default(false),
});

const resumeArguments = z.strictObject({ reason: z.string().max(1_000).default("resumed by the operator") });

const cancelArguments = z.strictObject({ reason: z.string().max(1_000).default("cancelled by the operator") });

/** Everything goes on at a restart, so that there is nothing to leave in time for. */
const NO_DELAY = "delayMs: a restart cannot be delayed; ask for it when it is to be, or delay a stop";

/** Returns the table. */
export function operationTable({ server, users, restart, reload }: OperationContext): OperationTable {
  return {
    status: read(noArguments, () => server.status()),

    /** What a stop would do now. */
    plan: read(noArguments, () => server.plan()),

    /** How the last run of the pipeline ended, cancelled ones and those of earlier processes included; null without one. */
    report: read(noArguments, () => server.lastReport),

    /** Tells what happens in the life cycle until the caller goes away. */
    watch: read(noArguments, (_, call) => watch(server, call)),

    stop: change(stopArguments, async ({ reason, follow: follows, budgetMs, ...asked }, call) => {
      const { lifecycle } = server;
      const forget = follows ? follow(lifecycle, call) : undefined;
      const budget = budgetMs === undefined ? {} : { budgetMs };
      const trigger = triggerOf(call.caller);
      const schedule = scheduleOf(asked, server.delayMs);
      const report = lifecycle.stop({ cause: "stop", reason, trigger, ...budget, ...schedule });
      if (forget === undefined) return { state: lifecycle.state };
      try {
        return await report;
      } finally {
        forget();
      }
    }),

    /** Tells everybody who is online something; answers with how many sessions were told. */
    announce: change(announceArguments, ({ text: said, host }) => server.announce(said, host)),

    /** Brings the server back from a stop; answers with whether it could, and if not, why. */
    cancel: change(cancelArguments, ({ reason }, { caller }) =>
      server.lifecycle.cancel({ reason, trigger: triggerOf(caller) }),
    ),

    /** Hands the server over to a new process; answers with how that went, and tells each step by `step` events. */
    restart: change(restartArguments, async ({ reason, program, delayMs = 0, announcement }, call) => {
      if (delayMs > 0) throw new MorendoError("MORENDO_BAD_ARGUMENTS", NO_DELAY);
      if (announcement !== undefined) await server.announce(announcement);
      const outcome = await restart({
        reason,
        trigger: triggerOf(call.caller),
        onStep: (step) => call.emit("step", step),
        ...(program === undefined ? {} : { program }),
      });
      return describeOutcome(outcome, process.pid);
    }),

    /** Brings the server to stand still; answers with the record of it once that is so, or has come to nothing. */
    suspend: change(suspendArguments, async ({ reason, mode, timeoutMs, onTimeout, follow: follows }, call) => {
      const forget = follows ? follow(server.lifecycle, call) : (): void => undefined;
      try {
        return await server.suspend({
          reason,
          trigger: triggerOf(call.caller),
          ...(mode === undefined ? {} : { mode }),
          ...(timeoutMs === undefined ? {} : { timeoutMs }),
          ...(onTimeout === undefined ? {} : { onTimeout }),
        });
      } finally {
        forget();
      }
    }),

    /** Lets all but operators leave; answers with the record of it, and who is left, once they have, or time is over. */
    evacuate: change(evacuateArguments, async ({ follow: follows, ...wish }, call) => {
      const forget = follows ? follow(server.lifecycle, call) : (): void => undefined;
      try {
        return await server.evacuate({ ...wish, trigger: triggerOf(call.caller) });
      } finally {
        forget();
      }
    }),

    /** Goes on after `suspend`; answers with whether it did, and if not, why. */
    resume: change(resumeArguments, ({ reason }, { caller }) => server.resume({ reason, trigger: triggerOf(caller) })),

    /** Takes the configuration and certificates in anew, all or nothing; answers with what has changed. */
    reload: change(noArguments, () => reload()),

    /** Who is logged in. */
    "session.list": read(sessionsArguments, (args) => listSessions(server.sessions(), args)),
    /** Ends a session, or all of an account, for good; answers with how many it were. */
    "session.end": change(endArguments, ({ jid, reason }) => endSessions(server, jid, reason)),

    /** What waits for other servers. */
    "journal.list": read(journalListArguments, (args) => listJournal(server.journal, args)),
    /** Gives up what waits; answers with how many it were, and how many senders are told. */
    "journal.drop": change(journalDropArguments, (args) => dropFromJournal(server.journal, args)),
    /** Tries a domain at once, whatever its back-off. */
    "journal.retry": change(journalRetryArguments, ({ domain }) => retryFromJournal(server.journal, domain)),

    "module.list": read(noArguments, () => server.modules.list()),
    /** Answers with the module's name. */
    "module.load": change(z.strictObject({ entry: text }), ({ entry }) => server.modules.add(entry)),
    "module.unload": change(z.strictObject({ name: text }), ({ name }) => server.modules.remove(name)),
    "module.reload": change(z.strictObject({ name: text }), ({ name }) => server.modules.reload(name)),

    "user.add": change(login, ({ jid, password }) => users.add(jid, password)),
    "user.passwd": change(login, ({ jid, password }) => users.setPassword(jid, password)),
    "user.remove": change(account, ({ jid }) => users.remove(jid)),
    "user.list": read(z.strictObject({ host: z.string().optional() }), ({ host }) => users.list(host)),
    /** The contacts on an account's roster. */
    "user.roster": read(account, ({ jid }) => users.roster(jid)),
    /** Says what is wrong with the accounts, without creating any. */
    "user.check": read(entries, ({ accounts }) => users.check(accounts)),
    "user.import": change(entries, ({ accounts }) => users.import(accounts)),
  };
}

/** Who asked, as reports name it. */
function triggerOf({ trigger, who }: Caller): string {
  return who === undefined ? trigger : `${trigger} (${who})`;
}
