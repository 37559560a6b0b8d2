// A small XMPP server on node-xmpp-server: its users write to each other and to users of other servers. What makes it go
// down in order is marked. Needs: npm install node-xmpp-server morendo
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { attachToNodeXmppServer } from "morendo/node-xmpp-server"; // in order: 1 of 3
import xmpp from "node-xmpp-server";

const { DOMAIN = "localhost", ADDRESS = "127.0.0.1", C2S_PORT = "5222", S2S_PORT = "5269" } = process.env;
const { CERT = "cert.pem", KEY = "key.pem", PASSWORD = "secret", DATA = "data" } = process.env;

const server = new xmpp.C2S.TCPServer({
  domain: DOMAIN,
  host: ADDRESS,
  port: Number(C2S_PORT),
  tls: { certPath: CERT, keyPath: KEY },
});
const router = new xmpp.Router(Number(S2S_PORT), ADDRESS);

const sessions = new Map();
let delivered = 0;

server.on("connection", (session) => {
  session.on("error", (error) => console.error("session:", error.message));
  session.on("authenticate", (user, done) => {
    if (user.password === PASSWORD) done(null, user);
    else done(new Error("wrong password"));
  });
  session.on("bind", (resource, done) => {
    done(null, resource);
    sessions.set(session.jid.toString(), session);
  });
  session.on("stanza", (stanza) => {
    const to = new xmpp.JID(stanza.attrs.to ?? DOMAIN);
    if (to.domain === DOMAIN) deliver(stanza);
    else router.send(stanza);
  });
  session.on("close", () => {
    if (session.jid) sessions.delete(session.jid.toString());
  });
});
router.register(DOMAIN, deliver);

function deliver(stanza) {
  const session = sessions.get(stanza.attrs.to);
  if (session === undefined) return;
  session.send(stanza);
  delivered++;
}

// In order: 2 of 3. Signals, deadline, watchdog, progress, report and exit code.
const host = attachToNodeXmppServer({ server, router, signals: true, deadline: "25s", reportDir: DATA });

// In order: 3 of 3. What this program itself has to finish: the clients have gone, other servers can still be reached.
host.on("server-stopping", (event) => {
  writeFileSync(join(DATA, "counters.json"), JSON.stringify({ delivered }));
  for (const friend of (process.env.TELL ?? "").split(" ").filter(Boolean)) {
    const text = `${DOMAIN} is going down: ${event.reason}`;
    router.send(new xmpp.Message({ from: DOMAIN, to: friend, type: "headline" }).c("body").t(text));
  }
});

server.on("listening", () => console.log(`${DOMAIN} is ready`));
