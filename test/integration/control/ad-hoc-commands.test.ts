// A real server administered from a real client: what XEP-0133's commands do, seen from the wire.

import assert from "node:assert/strict";
import { join } from "node:path";
import type { RawClient } from "../../../src/testing/raw-client.ts";
import { PASSWORD, startServer, type TestServer } from "../../../src/testing/start-server.ts";
import { AdminLibrary, type LibraryName } from "../../support/admin-library.ts";
import { skip } from "../../support/skip.ts";

const ADMIN = "http://jabber.org/protocol/admin#";

async function administrator(name: LibraryName, running: TestServer, username = "admin"): Promise<AdminLibrary> {
  return await AdminLibrary.start(name, {
    host: "127.0.0.1",
    port: running.ports.c2s,
    domain: "a.test",
    username,
    password: PASSWORD,
    certificate: join(running.data, "certificates", "a.test.crt"),
  });
}

for (const library of ["slixmpp", "@xmpp/client"] as const)
  describe(`administration by ${library}`, () => {
    let running: TestServer;
    let admin: AdminLibrary;
    let juliet: RawClient;

    before(function () {
      const missing = AdminLibrary.missing(library);
      if (missing !== undefined) skip(this, missing);
    });

    beforeEach(async () => {
      running = await startServer(
        { admin: { accounts: ["admin@a.test"], allow: { "romeo@a.test": ["status"] } } },
        { accounts: ["admin", "romeo", "juliet"] },
      );
      juliet = await running.login("juliet", "balcony");
      juliet.presence("<presence><show>away</show></presence>");
      admin = await administrator(library, running);
    });

    afterEach(async () => {
      admin?.stop();
      await running?.dispose();
    });

    it("lists to everybody what they may do", async () => {
      const { commands = [] } = await admin.order({ list: true });
      for (const name of ["add-user", "delete-user", "get-online-users-num", "shutdown", "restart"]) {
        assert.ok(commands.includes(`${ADMIN}${name}`), name);
      }
      const romeo = await administrator(library, running, "romeo");
      try {
        assert.deepEqual(await romeo.order({ list: true }), { commands: ["urn:morendo:admin#status"] });
        assert.equal((await romeo.order({ node: "urn:morendo:admin#status" })).values?.state, "running");
        assert.equal((await romeo.order({ command: "shutdown" })).error, "forbidden");
        assert.equal((await romeo.order({ command: "add-user" })).error, "forbidden");
        assert.equal(running.status.state, "running");
      } finally {
        romeo.stop();
      }
    });

    it("adds a user who can log in, changes the password, and deletes the user", async () => {
      const accountjid = "nurse@a.test";
      const login = (password: string): Promise<RawClient> => running.login("nurse", "x", { password });
      const added = await admin.order({
        command: "add-user",
        values: { accountjid, password: "p", "password-verify": "p" },
      });
      assert.equal(added.status, "completed");
      await (await login("p")).close();
      const again = await admin.order({
        command: "add-user",
        values: { accountjid, password: "p", "password-verify": "p" },
      });
      assert.equal(again.error, "conflict");
      const changed = await admin.order({ command: "change-user-password", values: { accountjid, password: "q" } });
      assert.equal(changed.status, "completed");
      await assert.rejects(login("p"), /login refused/);
      const nurse = await login("q");
      const deleted = await admin.order({ command: "delete-user", values: { accountjids: [accountjid] } });
      assert.equal(deleted.status, "completed");
      assert.equal((await nurse.ended).streamError, "not-authorized");
      await assert.rejects(login("q"), /login refused/);
      assert.equal(
        (await admin.order({ command: "delete-user", values: { accountjids: ["admin@a.test"] } })).error,
        "not-allowed",
      );
    });

    it("tells who is there", async () => {
      const number = async (command: string, field: string): Promise<unknown> =>
        (await admin.order({ command })).values?.[field];
      assert.equal(await number("get-registered-users-num", "registeredusersnum"), "3");
      assert.equal(await number("get-online-users-num", "onlineusersnum"), "2");
      assert.equal(await number("get-active-users-num", "activeusersnum"), "1");
      assert.equal(await number("get-idle-users-num", "idleusersnum"), "1");
      const list = await admin.order({ command: "get-online-users-list", values: { max_items: "25" } });
      assert.deepEqual(list.values?.onlineuserjids, ["admin@a.test", "juliet@a.test"]);
      const all = await admin.order({ command: "get-registered-users-list", values: { max_items: "none" } });
      assert.deepEqual(all.values?.registereduserjids, ["admin@a.test", "juliet@a.test", "romeo@a.test"]);
    });

    it("ends sessions", async () => {
      const values = { accountjids: ["juliet@a.test/balcony"] };
      assert.equal((await admin.order({ command: "end-user-session", values })).status, "completed");
      assert.equal((await juliet.ended).streamError, "policy-violation");
      assert.equal((await admin.order({ command: "end-user-session", values })).error, "item-not-found");
    });

    it("shuts the server down, and has the answer before the stream is closed", async () => {
      const { status } = await admin.order({ command: "shutdown" });
      assert.equal(status, "completed");
      const { over } = await admin.next((said) => said.over !== undefined);
      // A session that can be resumed waits for the next start instead, with no stream error (XEP-0198).
      assert.equal(over, library === "slixmpp" ? "system-shutdown" : null);
      const ending = await juliet.ended;
      assert.deepEqual([ending.streamError, ending.closingTag], ["system-shutdown", true]);
      const report = await running.stop();
      assert.equal(report.trigger, "ad-hoc command (admin@a.test)");
      assert.equal(report.outcome, "clean");
    });

    it("says why a restart is not possible", async () => {
      const { status, notes } = await admin.order({ command: "restart" });
      assert.equal(status, "completed");
      assert.equal(notes?.[0]?.[0], "error");
      assert.equal(running.status.state, "running");
    });
  });
