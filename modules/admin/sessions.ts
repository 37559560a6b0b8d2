// Who is logged in, as XEP-0133 tells and changes it (§4.5, §4.15 to §4.17, §4.20 to §4.23).

import { type FormField, Jid, StanzaError } from "../../src/module.ts";
import { type AdminCommand, completed, done, standard, standardForm } from "./admin.ts";
import { limitOf, MAX_ITEMS, MAX_SHOWN, sessionList } from "./lists.ts";

/** Which users a command is about. */
interface Group {
  /** The middle of the names of its commands and fields. */
  readonly name: "online" | "active" | "idle";
  readonly title: string;
  /** The node of the list, which is not of one pattern. */
  readonly listNode: string;
  /** The field of the list; XEP-0133 has the same one for active and idle users. */
  readonly listField: string;
  readonly count: (list: { readonly users: number; readonly active: number }) => number;
  /** Tells by what their sessions show whether users belong to it. */
  readonly has: (shows: ReadonlySet<string>) => boolean;
}

const IDLE: ReadonlySet<string> = new Set(["away", "xa"]);

function isActive(shows: ReadonlySet<string>): boolean {
  return [...shows].some((show) => !IDLE.has(show));
}

const GROUPS: readonly Group[] = [
  {
    name: "online",
    title: "Online",
    listNode: "get-online-users-list",
    listField: "onlineuserjids",
    count: ({ users }) => users,
    has: () => true,
  },
  {
    name: "active",
    title: "Active",
    listNode: "get-active-users",
    listField: "activeuserjids",
    count: ({ active }) => active,
    has: isActive,
  },
  {
    name: "idle",
    title: "Idle",
    listNode: "get-idle-users",
    listField: "activeuserjids",
    count: ({ users, active }) => users - active,
    has: (shows) => !isActive(shows),
  },
];

/** The commands. */
export const sessionCommands: readonly AdminCommand[] = [
  ...GROUPS.flatMap((group) => [numberOf(group), listOf(group)]),
  {
    node: standard("end-user-session"),
    name: "End User Session",
    needs: ["session.end"],
    form: standardForm("Ending sessions", [
      {
        name: "accountjids",
        type: "jid-multi",
        label: "Whose: all sessions of a Jabber ID, or with a resource that one",
        required: true,
      },
    ]),
    run(admin, values) {
      const jids = values.jids("accountjids");
      // Nobody would be there for the answer.
      if (jids.some((jid) => jid.equals(admin.jid) || jid.equals(admin.jid.bare))) {
        return new StanzaError("not-allowed", "you cannot end the session that you ask with: log out");
      }
      return admin.askForEach(jids, "session.end", {
        one: "The sessions of 1 address were ended.",
        many: "addresses had their sessions ended.",
      });
    },
  },
  {
    node: standard("announce"),
    name: "Send Announcement to Online Users",
    needs: ["announce"],
    form: standardForm("An announcement to everybody who is online", [
      { name: "announcement", type: "text-multi", label: "The announcement", required: true } satisfies FormField,
    ]),
    async run(admin, values) {
      const result = await admin.ask("announce", { text: values.text("announcement") });
      return result instanceof StanzaError ? result : done("The announcement was sent.");
    },
  },
];

function numberOf({ name, title, count }: Group): AdminCommand {
  return {
    node: standard(`get-${name}-users-num`),
    name: `Get Number of ${title} Users`,
    needs: ["session.list"],
    async run(admin) {
      const list = await sessionList(admin, admin.host.toString(), 0);
      if (list instanceof StanzaError) return list;
      return completed([{ name: `${name}usersnum`, type: "text-single", value: String(count(list)) }]);
    },
  };
}

function listOf({ title, listNode, listField, has }: Group): AdminCommand {
  return {
    node: standard(listNode),
    name: `Get List of ${title} Users`,
    needs: ["session.list"],
    form: standardForm(`The ${title.toLowerCase()} users`, [MAX_ITEMS]),
    async run(admin, values) {
      const list = await sessionList(admin, admin.host.toString());
      if (list instanceof StanzaError) return list;
      const shows = new Map<string, Set<string>>();
      for (const { jid, show } of list.sessions) {
        if (show === "none") continue;
        const account = Jid.parse(jid)?.bare.toString() ?? jid;
        const known = shows.get(account);
        if (known === undefined) shows.set(account, new Set([show]));
        else known.add(show);
      }
      const all = [...shows].filter(([, shown]) => has(shown)).map(([account]) => account);
      const shown = all.toSorted().slice(0, limitOf(values) ?? MAX_SHOWN);
      const rest = all.length - shown.length;
      return completed(
        [{ name: listField, type: "jid-multi", value: shown }],
        rest === 0 ? [] : [{ type: "info", text: `There are ${rest} more.` }],
      );
    },
  };
}
