// A host on node-xmpp-server for tests, steered by SCENE, OPTIONS (JSON, for the adapter) and lines of JSON on its standard
// input; what its Router receives goes to the standard output as JSON, a line each. It listens for no session's errors.

import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { attachToNodeXmppServer } from "morendo/node-xmpp-server";
import xmpp from "node-xmpp-server";

const { DOMAIN, ADDRESS, SCENE = "" } = process.env;
const port = Number(process.env.C2S_PORT);
const tls = { certPath: "cert.pem", keyPath: "key.pem" };
const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);

let net;
function makeServer() {
  const common = { domain: DOMAIN, host: ADDRESS, port };
  if (SCENE === "websocket") return new xmpp.C2S.WebSocketServer(common);
  if (SCENE === "bosh") return new xmpp.C2S.BOSHServer(common);
  if (SCENE === "component") return new xmpp.component.Server(common);
  if (SCENE === "own net server") {
    const server = new xmpp.C2S.TCPServer({ ...common, tls, server: createServer(), autostart: false });
    server.listen();
    return server;
  }
  if (SCENE === "own acceptor") {
    const server = new xmpp.C2S.TCPServer({ ...common, tls, autostart: false });
    net = createServer((socket) => server.acceptConnection(socket)).listen(port, ADDRESS);
    return server;
  }
  return new xmpp.C2S.TCPServer({ ...common, tls });
}

const server = makeServer();
const router = new xmpp.Router(Number(process.env.S2S_PORT), ADDRESS);
server.on("connection", (session) => {
  session.on("authenticate", (user, done) => done(null, user));
  session.on("verify-component", (_jid, done) => done(null, "secret"));
  session.on("stanza", (stanza) => {
    if (stanza.attrs.to !== undefined && new xmpp.JID(stanza.attrs.to).domain !== DOMAIN) router.send(stanza);
  });
});
router.register(DOMAIN, (stanza) => say({ received: stanza.toString() }));

function send(to, id, times) {
  for (let index = 0; index < times; index++) {
    router.send(new xmpp.Message({ from: `someone@${DOMAIN}`, to, id: `${id}${index}`, type: "chat" }).c("body").t("hi"));
  }
}

let host;
function attach() {
  const options = JSON.parse(process.env.OPTIONS ?? "{}");
  host = attachToNodeXmppServer({ server, router, net, reportDir: "data", signals: true, ...options });
  if (SCENE === "blocked") {
    host.on("server-stopping", function busyBody() {
      for (;;);
    });
  }
  host.on("server-stopping", () => {
    for (const to of (process.env.TELL ?? "").split(" ").filter(Boolean)) send(to, "last", 1);
  });
  say({ attached: host.lifecycle.state });
}
if (SCENE !== "late") attach();

createInterface({ input: process.stdin }).on("line", (line) => {
  const { to, id, times = 1, stop } = JSON.parse(line);
  if (to !== undefined) send(to, id, times);
  else if (stop !== undefined) host.stop(stop).then((report) => say({ report: report.outcome }));
  else attach();
});
// The line that is waited for; by then everything listens.
(net ?? server).on("listening", () => say(`${DOMAIN} is ready`));
