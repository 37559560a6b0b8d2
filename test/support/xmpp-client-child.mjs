// A user of @xmpp/client in a process of its own, which prints what happens to it, a line each: `online JID`,
// `message BODY`, `error CONDITION`, `status STATE`. Usage: xmpp-client-child.mjs SERVICE DOMAIN USERNAME PASSWORD

import { client, xml } from "@xmpp/client";

const [service, domain, username, password] = process.argv.slice(2);
const say = (line) => process.stdout.write(`${line}\n`);
const xmpp = client({ service, domain, username, password, resource: "lib" });
xmpp.reconnect.stop();
// Two seconds unless told, which a loaded machine does not keep.
xmpp.timeout = 30_000;
xmpp.on("error", (error) => say(`error ${error.condition ?? error.message}`));
xmpp.on("status", (status) => {
  say(`status ${status}`);
  if (status === "disconnect") process.exit(0);
});
xmpp.on("stanza", (stanza) => {
  if (stanza.is("message") && stanza.getChild("body")) say(`message ${stanza.getChildText("body")}`);
});
xmpp.on("online", async (address) => {
  await xmpp.send(xml("presence"));
  const { iqCaller } = xmpp;
  const answer = await iqCaller.get(xml("query", "jabber:iq:roster"));
  say(`roster ${answer.getChildren("item").length}`);
  say(`online ${address}`);
  await xmpp.send(xml("message", { to: address.bare().toString(), type: "chat" }, xml("body", {}, "hello")));
});
await xmpp.start();
