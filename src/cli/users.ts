// Finds whom to ask about accounts: the running server by its control socket, or else the store itself.

import { z } from "zod";
import type { Config } from "../config/schema.ts";
import { type ControlClient, connectControl } from "../control/control-client.ts";
import type { UserAdmin } from "../operations/user-admin.ts";
import { codeOf } from "../util/errors.ts";
import type { Io } from "./io.ts";
import { openUsers } from "./offline-users.ts";

/** What can be done with accounts. */
export type Users = Pick<UserAdmin, "add" | "setPassword" | "remove" | "list" | "check" | "import">;

const problems = z.array(z.object({ index: z.number(), message: z.string() }));

/** Calls `work` with the accounts of the running server, or with those in the store when no server runs. */
export async function withUsers<Result>(
  io: Io,
  config: Config,
  work: (users: Users) => Promise<Result>,
): Promise<Result> {
  const client = await connectIfRunning(io, config);
  if (client !== undefined) {
    try {
      return await work(remoteUsers(client));
    } finally {
      client.close();
    }
  }
  const { users, close } = await openUsers(config, io);
  try {
    return await work(users);
  } finally {
    await close();
  }
}

async function connectIfRunning(io: Io, config: Config): Promise<ControlClient | undefined> {
  try {
    return await connectControl({ path: config.control.socket, clock: io.clock, timeoutMs: 120_000 });
  } catch (thrown) {
    if (codeOf(thrown) === "MORENDO_NOT_RUNNING") return undefined;
    throw thrown;
  }
}

function remoteUsers(client: ControlClient): Users {
  return {
    add: async (jid, password) => {
      await client.request("user.add", { jid, password });
    },
    setPassword: async (jid, password) => {
      await client.request("user.passwd", { jid, password });
    },
    remove: async (jid) => {
      await client.request("user.remove", { jid });
    },
    list: async (host) =>
      z.array(z.string()).parse(await client.request("user.list", host === undefined ? {} : { host })),
    check: async (accounts) => problems.parse(await client.request("user.check", { accounts })),
    import: async (accounts) => z.number().parse(await client.request("user.import", { accounts })),
  };
}
