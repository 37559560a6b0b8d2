// The life of the server: shutdown and restart as XEP-0133 has them (§4.30, §4.31), and what Morendo can do beyond that
// with commands of its own.

import {
  type CommandAnswer,
  type CommandNote,
  type FormField,
  type FormValues,
  StanzaError,
  z,
} from "../../src/module.ts";
import { type Admin, type AdminCommand, completedOwn, done, own, ownForm, standard, standardForm } from "./admin.ts";
import { fieldsOf } from "./fields.ts";

/** When (XEP-0133 §4.31); left out, at once. */
const DELAY: FormField = {
  name: "delay",
  type: "list-single",
  label: "The time until then",
  options: [
    { value: "0", label: "None: at once" },
    { value: "30", label: "30 seconds" },
    { value: "60", label: "60 seconds" },
    { value: "90", label: "90 seconds" },
    { value: "120", label: "2 minutes" },
    { value: "180", label: "3 minutes" },
    { value: "240", label: "4 minutes" },
    { value: "300", label: "5 minutes" },
  ],
};
/** A restart has no gap, and so no delay: the field is there because clients of XEP-0133 expect it. */
const NO_DELAY: FormField = { ...DELAY, options: DELAY.options?.slice(0, 1) ?? [] };
const ANNOUNCEMENT: FormField = { name: "announcement", type: "text-multi", label: "What users are told" };
const REASON: FormField = { name: "reason", type: "text-single", label: "The reason, for users and for the report" };

const failed = z.array(z.object({ name: z.string(), error: z.string() }));
const cancelled = z.union([
  z.object({ cancelled: z.literal(true), failed }),
  z.object({ cancelled: z.literal(false), why: z.string() }),
]);
const resumed = z.union([
  z.object({ resumed: z.literal(true), failed }),
  z.object({ resumed: z.literal(false), why: z.string() }),
]);
const suspended = z.object({ suspended: z.boolean(), why: z.string().optional() });

const restarted = z.object({ restarted: z.boolean(), why: z.string().optional() });

/** The commands. */
export const lifeCycleCommands: readonly AdminCommand[] = [
  {
    node: standard("shutdown"),
    name: "Shut Down Service",
    needs: ["stop"],
    form: standardForm("Shutting down the service", [DELAY, ANNOUNCEMENT]),
    async run(admin, values) {
      const result = await admin.ask("stop", scheduleOf(values));
      return result instanceof StanzaError ? result : done("The service is going down.");
    },
  },
  {
    node: standard("restart"),
    name: "Restart Service",
    needs: ["restart"],
    form: standardForm("Restarting the service", [NO_DELAY, ANNOUNCEMENT]),
    run: (admin, values) => restart(admin, scheduleOf(values)),
  },
  {
    node: own("cancel"),
    name: "Cancel the Shutdown or Restart",
    needs: ["cancel"],
    form: ownForm("Cancelling a shutdown or restart", [REASON]),
    async run(admin, values) {
      const result = await admin.ask("cancel", reasonOf(values));
      if (result instanceof StanzaError) return result;
      const outcome = cancelled.parse(result);
      if (!outcome.cancelled) return { notes: [{ type: "error", text: `Not cancelled: ${outcome.why}.` }] };
      return { notes: [{ type: "info", text: "Cancelled: the service stays up." }, ...failures(outcome.failed)] };
    },
  },
  {
    node: own("suspend"),
    name: "Suspend the Service",
    needs: ["suspend"],
    form: ownForm("Suspending the service", [
      {
        name: "mode",
        type: "list-single",
        label: "How",
        options: [
          {
            value: "hold",
            label: "Hold: connections stay, and nothing is read or written, not even a command to resume",
          },
          { value: "refuse", label: "Refuse: nobody new is let in" },
        ],
      },
      REASON,
    ]),
    run(admin, values) {
      if (admin.state !== "running") return new StanzaError("unexpected-request", `the service is ${admin.state}`);
      const mode = values.text("mode");
      const args = { ...reasonOf(values), ...(mode === "" ? {} : { mode }) };
      return { ...done("The service is being suspended."), afterwards: () => suspend(admin, "suspend", args) };
    },
  },
  {
    node: own("evacuate"),
    name: "Evacuate the Service",
    needs: ["evacuate"],
    form: ownForm("Letting all but administrators leave", [
      { name: "to", type: "text-single", label: "The server to send them to, as host or host:port" },
      REASON,
    ]),
    run(admin, values) {
      if (admin.state !== "running") return new StanzaError("unexpected-request", `the service is ${admin.state}`);
      const to = values.text("to");
      const args = { ...reasonOf(values), ...(to === "" ? {} : { to }) };
      return { ...done("Users are asked to leave."), afterwards: () => suspend(admin, "evacuate", args) };
    },
  },
  {
    node: own("resume"),
    name: "Resume the Service",
    needs: ["resume"],
    form: ownForm("Resuming the service", [REASON]),
    async run(admin, values) {
      const result = await admin.ask("resume", reasonOf(values));
      if (result instanceof StanzaError) return result;
      const outcome = resumed.parse(result);
      if (!outcome.resumed) return { notes: [{ type: "error", text: `Not resumed: ${outcome.why}.` }] };
      return { notes: [{ type: "info", text: "The service goes on." }, ...failures(outcome.failed)] };
    },
  },
  {
    node: own("reload"),
    name: "Reload Configuration and Certificates",
    needs: ["reload"],
    async run(admin) {
      const result = await admin.ask("reload");
      return result instanceof StanzaError ? result : completedOwn(fieldsOf(result), done("Reloaded.").notes);
    },
  },
  {
    node: own("status"),
    name: "Status of the Service",
    needs: ["status"],
    async run(admin) {
      const result = await admin.ask("status");
      return result instanceof StanzaError ? result : completedOwn(fieldsOf(result));
    },
  },
  {
    node: own("report"),
    name: "Report of the Last Shutdown",
    needs: ["report"],
    async run(admin) {
      const result = await admin.ask("report");
      if (result instanceof StanzaError) return result;
      return result === null ? done("There is none.") : completedOwn(fieldsOf(result));
    },
  },
];

/**
 * The answer cannot wait for the outcome: whoever asked may be connected to the next process by then, or not at all. What
 * goes wrong later is told by a message.
 */
async function restart(admin: Admin, args: object): Promise<CommandAnswer> {
  const work = admin.ask("restart", args);
  const early = await admin.soon(work);
  if (early instanceof StanzaError) return early;
  if (early !== undefined) {
    const outcome = restarted.parse(early);
    if (!outcome.restarted) return { notes: [{ type: "error", text: `Not restarted: ${outcome.why}.` }] };
    return done("The service was restarted.");
  }
  void work.then((late) => {
    if (late instanceof StanzaError) admin.tell(`The service was not restarted: ${late.text ?? late.condition}`);
    else {
      const outcome = restarted.parse(late);
      if (!outcome.restarted) admin.tell(`The service was not restarted: ${outcome.why}`);
    }
  });
  return done("The restart has begun.");
}

/** Nobody can be answered while the service holds; that it does not is told by a message. */
async function suspend(admin: Admin, operation: "suspend" | "evacuate", args: object): Promise<void> {
  const result = await admin.ask(operation, args);
  const problem = `The service was not ${operation === "suspend" ? "suspended" : "evacuated"}`;
  if (result instanceof StanzaError) {
    admin.tell(`${problem}: ${result.text ?? result.condition}`);
    return;
  }
  const outcome = suspended.parse(result);
  if (!outcome.suspended) admin.tell(`${problem}: ${outcome.why}`);
}

/** Those who could not take back what they had done. */
function failures(participants: z.output<typeof failed>): CommandNote[] {
  return participants.map(({ name, error }) => ({ type: "warn", text: `${name}: ${error}` }));
}

/** When to go down, and what to tell of it. */
function scheduleOf(values: FormValues): object {
  const delayMs = Number(values.text("delay")) * 1_000;
  const announcement = values.text("announcement");
  return {
    ...(delayMs === 0 ? {} : { delayMs }),
    ...(announcement === "" ? {} : { announcement }),
  };
}

function reasonOf(values: FormValues): object {
  const reason = values.text("reason");
  return reason === "" ? {} : { reason };
}
