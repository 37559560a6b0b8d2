import assert from "node:assert/strict";
import type { ModuleStates } from "../../src/server/module-handover.ts";
import { undoModules } from "../../src/server/module-handover.ts";
import { ModuleHost } from "../../src/testing/module-host.ts";
import { silentLog } from "../../src/util/log.ts";

const GET = '<iq type="get" id="g"><query xmlns="jabber:iq:roster"/></iq>';
const JULIET = '<query xmlns="jabber:iq:roster"><item jid="juliet@b.test"/></query>';

async function host(): Promise<ModuleHost> {
  const made = await new ModuleHost().load(["roster", "presence"]);
  made.accounts.add("romeo@a.test");
  return made;
}

/** A session with presence, directed presence and its roster, and what the modules hand over for it. */
async function handedOver(): Promise<ModuleStates> {
  const one = await host();
  const session = one.bind("romeo@a.test/x");
  const other = one.bind("romeo@a.test/y");
  await one.send(session, GET);
  await one.send(other, GET);
  await one.send(session, "<presence/>");
  await one.send(session, '<presence to="room@rooms.test/romeo"/>');
  return await one.handOver([session]);
}

describe("modules that hand over", () => {
  it("take over what they knew of a session: its goodbye reaches whom it had greeted, and its roster is kept up to date", async () => {
    const states = await handedOver();
    const two = await host();
    const session = two.bind("romeo@a.test/x");
    const stranger = two.bind("romeo@a.test/y");
    await two.takeOver(states);
    await two.send(stranger, `<iq type="set" id="s">${JULIET}</iq>`);
    assert.match(session.take().join(), /<iq type="set".*juliet@b\.test/);
    assert.doesNotMatch(stranger.take().join(), /type="set"/, "it did not ask for the roster, and was not handed over");
    two.takeRemote();
    await two.end(session);
    assert.match(two.takeRemote().join(), /type="unavailable".*to="room@rooms\.test\/romeo"/);
  });

  it("say nothing of a session that did not come over", async () => {
    const states = await handedOver();
    const two = await host();
    await two.takeOver(states);
    assert.deepEqual(two.takeRemote(), []);
  });

  it("refuse what they cannot understand, by name", async () => {
    const two = await host();
    const damaged = { presence: { version: 1, value: [{ jid: "@", directed: [], interested: true }] } };
    await assert.rejects(two.takeOver(damaged), { code: "MORENDO_HANDOVER_FAILED", message: /"presence".*address/s });
  });

  it("that fail to hand over are named, and the others undo", async () => {
    const two = await host();
    const undone: string[] = [];
    await two.loader.install([
      {
        name: "careful",
        load: (api) =>
          api.handover({
            version: 1,
            save: () => null,
            load: () => undefined,
            undo: () => {
              undone.push(api.name);
            },
          }),
      },
      {
        name: "broken",
        load: (api) =>
          api.handover({
            version: 1,
            save: () => {
              throw new Error("no idea");
            },
            load: () => undefined,
          }),
      },
    ]);
    await two.settle();
    await assert.rejects(two.handOver([]), { code: "MORENDO_HANDOVER_FAILED", message: /"broken".*no idea/ });
    await undoModules(two.loader.handovers(), silentLog);
    assert.deepEqual(undone, ["careful"]);
  });

  it("that are not loaded any more are told of in the log", async () => {
    const two = await host();
    await two.takeOver({ gone: { version: 3, value: null } });
    assert.match(two.logged.map(({ message }) => message).join(), /"gone".*not loaded/);
  });
});
