// Accounts, as XEP-0133 administers them (§4.1, §4.2, §4.7, §4.8, §4.10, §4.13, §4.18).

import { type FormField, resultElement, StanzaError, xml, z } from "../../src/module.ts";
import { NS } from "../../src/xml/ns.ts";
import { type AdminCommand, badValues, completed, done, standard, standardForm } from "./admin.ts";
import { limitOf, MAX_ITEMS, MAX_SHOWN, sessionList } from "./lists.ts";

const ACCOUNT: FormField = {
  name: "accountjid",
  type: "jid-single",
  label: "The Jabber ID of the account",
  required: true,
};
const ACCOUNTS: FormField = {
  name: "accountjids",
  type: "jid-multi",
  label: "The Jabber IDs of the accounts",
  required: true,
};
const PASSWORD: FormField = { name: "password", type: "text-private", label: "The password", required: true };

const accounts = z.array(z.string());
const roster = z.array(
  z.object({
    jid: z.string(),
    name: z.string().optional(),
    subscription: z.string(),
    groups: z.array(z.string()),
  }),
);

/** The commands. */
export const userCommands: readonly AdminCommand[] = [
  {
    node: standard("add-user"),
    name: "Add User",
    needs: ["user.add"],
    form: standardForm("Adding a user", [
      ACCOUNT,
      PASSWORD,
      { name: "password-verify", type: "text-private", label: "The password again", required: true },
    ]),
    async run(admin, values) {
      const password = values.text("password");
      if (password !== values.text("password-verify")) return badValues("the two passwords differ");
      const jid = values.text("accountjid");
      const result = await admin.ask("user.add", { jid, password });
      return result instanceof StanzaError ? result : done(`${jid} was added.`);
    },
  },
  {
    node: standard("delete-user"),
    name: "Delete User",
    needs: ["user.remove"],
    form: standardForm("Deleting users", [ACCOUNTS]),
    run(admin, values) {
      const jids = values.jids("accountjids");
      // Nobody would be there for the answer.
      if (jids.some((jid) => jid.bare.equals(admin.jid.bare))) {
        return new StanzaError("not-allowed", "you cannot delete the account that you are logged in with");
      }
      return admin.askForEach(jids, "user.remove", { one: "1 user was deleted.", many: "users were deleted." });
    },
  },
  {
    node: standard("change-user-password"),
    name: "Change User Password",
    needs: ["user.passwd"],
    form: standardForm("Changing a user's password", [ACCOUNT, PASSWORD]),
    async run(admin, values) {
      const jid = values.text("accountjid");
      const result = await admin.ask("user.passwd", { jid, password: values.text("password") });
      return result instanceof StanzaError ? result : done(`The password of ${jid} was changed.`);
    },
  },
  {
    node: standard("get-user-roster"),
    name: "Get User Roster",
    needs: ["user.roster"],
    form: standardForm("Getting a user's roster", [ACCOUNTS]),
    async run(admin, values) {
      const jids = values.jids("accountjids").map((jid) => jid.toString());
      const element = resultElement({
        formType: NS.admin,
        fields: [{ name: "accountjids", type: "jid-multi", value: jids }],
      });
      for (const jid of jids) {
        const result = await admin.ask("user.roster", { jid });
        if (result instanceof StanzaError) return result;
        const items = roster.parse(result).map(({ jid: contact, name, subscription, groups }) => {
          return xml("item", { jid: contact, name, subscription }, ...groups.map((group) => xml("group", {}, group)));
        });
        element.cnode(xml("query", { xmlns: NS.roster }, ...items));
      }
      return { payload: [element] };
    },
  },
  {
    node: standard("user-stats"),
    name: "Get User Statistics",
    needs: ["user.roster", "session.list"],
    form: standardForm("Getting a user's statistics", [ACCOUNT]),
    async run(admin, values) {
      const [account] = values.jids("accountjid");
      const contacts = await admin.ask("user.roster", { jid: values.text("accountjid") });
      if (contacts instanceof StanzaError) return contacts;
      const list = await sessionList(admin, account?.domain);
      if (list instanceof StanzaError) return list;
      const prefix = `${account?.bare.toString()}/`;
      const resources = list.sessions.filter(({ jid }) => jid.startsWith(prefix));
      return completed([
        { name: "rostersize", type: "text-single", value: String(roster.parse(contacts).length) },
        { name: "onlineresources", type: "text-single", value: String(resources.length) },
      ]);
    },
  },
  {
    node: standard("get-registered-users-num"),
    name: "Get Number of Registered Users",
    needs: ["user.list"],
    async run(admin) {
      const result = await admin.ask("user.list", { host: admin.host.toString() });
      if (result instanceof StanzaError) return result;
      return completed([
        { name: "registeredusersnum", type: "text-single", value: String(accounts.parse(result).length) },
      ]);
    },
  },
  {
    node: standard("get-registered-users-list"),
    name: "Get List of Registered Users",
    needs: ["user.list"],
    form: standardForm("The registered users", [MAX_ITEMS]),
    async run(admin, values) {
      const result = await admin.ask("user.list", { host: admin.host.toString() });
      if (result instanceof StanzaError) return result;
      const all = accounts.parse(result);
      const shown = all.slice(0, limitOf(values) ?? MAX_SHOWN);
      const rest = all.length - shown.length;
      return completed(
        [{ name: "registereduserjids", type: "jid-multi", value: shown }],
        rest === 0 ? [] : [{ type: "info", text: `There are ${rest} more.` }],
      );
    },
  },
];
