// Connects to an XMPP server again and again and notes how each connection ended: with what was wanted, with word that the
// server goes down, or otherwise. Arguments: host, domain, user name, what is wanted (`header`: a stream header on a plain
// connection; `tls`: one inside TLS; `login`: a bound resource and an answer). Prints `good` for each that got it. Ends, with
// one line of JSON, when its standard input does.

import { RawClient } from "../../src/testing/raw-client.ts";
import { PASSWORD } from "./accounts.ts";
import { PORTS } from "./addresses.ts";

const [host = "", domain = "", username = "", wanted = "header"] = process.argv.slice(2);
const faults: Record<string, number> = {};
let good = 0;
let told = 0;
let isOver = false;

process.stdin.resume().once("end", () => {
  isOver = true;
});
setTimeout(() => process.exit(99), 150_000).unref();

async function once(): Promise<void> {
  const security = wanted === "header" ? "starttls" : "direct";
  const port = wanted === "header" ? PORTS.c2s : PORTS.c2sTls;
  const client = new RawClient({ host, port, domain, username, password: PASSWORD, security, mechanism: "PLAIN" });
  try {
    if (wanted === "login") {
      await client.login();
      await client.iq("get", "<ping xmlns='urn:xmpp:ping'/>", domain);
    } else {
      await client.connect();
      await client.open();
    }
    await client.close();
  } finally {
    client.destroy();
  }
}

while (!isOver) {
  try {
    await once();
    good++;
    process.stdout.write("good\n");
  } catch (thrown) {
    const text = String(thrown);
    if (text.includes('"streamError":"system-shutdown","closingTag":true,"how":"fin"')) told++;
    else faults[text] = (faults[text] ?? 0) + 1;
  }
}
process.stdout.write(`${JSON.stringify({ good, told, faults })}\n`);
