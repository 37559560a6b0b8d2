// An administrator at @xmpp/client, which knows nothing of commands: the forms are filled in here, as a client in a terminal
// does. Orders and answers are those of admin-library-child.py.
// Usage: admin-library-child.mjs HOST PORT DOMAIN USERNAME PASSWORD

import { createInterface } from "node:readline";
import { client, xml } from "@xmpp/client";

const COMMANDS = "http://jabber.org/protocol/commands";
const FORMS = "jabber:x:data";
const [host, port, domain, username, password] = process.argv.slice(2);
const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
const xmpp = client({ service: `xmpp://${host}:${port}`, domain, username, password, resource: "admin" });
xmpp.reconnect.stop();
// Two seconds unless told, which a loaded machine does not keep.
xmpp.timeout = 30_000;
let streamError = null;
xmpp.on("error", (error) => {
  streamError = error.condition ?? error.message;
});
xmpp.on("disconnect", () => say({ over: streamError }));
xmpp.on("stanza", (stanza) => {
  if (stanza.is("message") && stanza.getChild("body")) say({ message: stanza.getChildText("body") });
});
xmpp.on("online", async (address) => {
  await xmpp.send(xml("presence"));
  say({ online: address.toString() });
});

async function ask(attrs, ...children) {
  const command = xml("command", { xmlns: COMMANDS, ...attrs }, ...children);
  const answer = await xmpp.iqCaller.request(xml("iq", { type: "set", to: domain }, command), 30_000);
  return answer.getChild("command", COMMANDS);
}

async function obey({ list, command, node = `http://jabber.org/protocol/admin#${command}`, values = {} }) {
  if (list) {
    const query = xml("query", { xmlns: "http://jabber.org/protocol/disco#items", node: COMMANDS });
    const items = await xmpp.iqCaller.get(query, domain, 30_000);
    return { commands: items.getChildren("item").map((item) => item.attrs.node).sort() };
  }
  let answer = await ask({ node, action: "execute" });
  if (answer.attrs.status === "executing") {
    const fields = Object.entries(values).map(([name, value]) =>
      xml("field", { var: name }, ...[value].flat().map((text) => xml("value", {}, text))),
    );
    const { sessionid } = answer.attrs;
    answer = await ask({ node, sessionid, action: "complete" }, xml("x", { xmlns: FORMS, type: "submit" }, ...fields));
  }
  const shown = answer.getChild("x", FORMS)?.getChildren("field") ?? [];
  const named = shown.filter((field) => field.attrs.var !== "FORM_TYPE").map((field) => {
    const texts = field.getChildren("value").map((value) => value.getText());
    return [field.attrs.var, field.attrs.type?.endsWith("-multi") ? texts : texts[0]];
  });
  return {
    status: answer.attrs.status,
    notes: answer.getChildren("note").map((note) => [note.attrs.type, note.getText()]),
    values: Object.fromEntries(named),
  };
}

createInterface({ input: process.stdin }).on("line", (line) => {
  obey(JSON.parse(line)).then(say, (error) => say({ error: error.condition ?? error.message, text: error.text ?? "" }));
});
process.stdin.on("end", () => process.exit(0));
await xmpp.start();
