// A user of @xmpp/client in a process of its own, which resumes its session whenever the connection breaks. It prints
// what happens, a line each: `online JID`, `resumed`, `message BODY`, `error CONDITION`; a line `send JID BODY` on its
// standard input is sent as a message, as soon as there is a session to send it in: the library itself would write it into
// whatever stands on the connection. Usage: sm-library-child.mjs HOST PORT DOMAIN USERNAME PASSWORD

import { createInterface } from "node:readline";
import { client, xml } from "@xmpp/client";

const [host, port, domain, username, password] = process.argv.slice(2);
const say = (line) => process.stdout.write(`${line}\n`);
const xmpp = client({ service: `xmpp://${host}:${port}`, domain, username, password, resource: "lib" });
xmpp.reconnect.delay = 200;
// Two seconds unless told, which a loaded machine does not keep.
xmpp.timeout = 30_000;

const waiting = [];
function sendWaiting() {
  while (xmpp.status === "online" && waiting.length > 0) {
    const [to, body] = waiting.shift();
    // One that could not be written is not in the library's queue either.
    xmpp
      .send(xml("message", { to, type: "chat", id: body }, xml("body", {}, body)))
      .catch(() => waiting.push([to, body]));
  }
}

xmpp.on("error", (error) => say(`error ${error.condition ?? error.message}`));
xmpp.streamManagement.on("resumed", () => {
  say("resumed");
  // The library is online again once it has told everybody.
  setImmediate(sendWaiting);
});
xmpp.on("stanza", (stanza) => {
  if (stanza.is("message") && stanza.getChild("body")) say(`message ${stanza.getChildText("body")}`);
});
xmpp.on("online", async (address) => {
  await xmpp.send(xml("presence"));
  say(`online ${address}`);
  sendWaiting();
});
createInterface({ input: process.stdin }).on("line", (line) => {
  const [, to, body] = line.split(" ");
  waiting.push([to, body]);
  sendWaiting();
});
process.stdin.on("end", () => process.exit(0));
await xmpp.start();
