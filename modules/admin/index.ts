// Service Administration (XEP-0133): what operators can ask of the server, as ad-hoc commands for those whom the
// configuration gives the right to. Each command asks for operations, and nothing is done here that other doors cannot do.

import { type AdHocCommand, defineModule, FormValues, type ModuleApi } from "../../src/module.ts";
import { Admin, type AdminCommand } from "./admin.ts";
import { lifeCycleCommands } from "./life-cycle.ts";
import { sessionCommands } from "./sessions.ts";
import { userCommands } from "./users.ts";

export default defineModule({
  name: "admin",
  requires: ["commands"],
  load(api) {
    for (const command of [...userCommands, ...sessionCommands, ...lifeCycleCommands]) {
      api.command(adHocCommand(api, command));
    }
  },
});

/** What is filled in where there is nothing to fill in. */
const NOTHING = new FormValues();

function adHocCommand(api: ModuleApi, { node, name, needs, form, run }: AdminCommand): AdHocCommand {
  return {
    node,
    name,
    // A command is offered to those who may do all that it does.
    allowed: (who) => {
      const operations = api.operations.allowed(who);
      return needs.every((operation) => operations.has(operation));
    },
    start: ({ asker, host }) => {
      const admin = new Admin(api, asker, host);
      return form === undefined ? run(admin, NOTHING) : { form, submit: (values) => run(admin, values) };
    },
  };
}
