// A stand-in for systemd's end of NOTIFY_SOCKET: receives datagrams, which Node cannot, by a few lines of Python. Wants
// python3 and the program systemd-notify; `whyNotHere` says if one of them is missing.

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { sleep } from "./child.ts";

// Prints when each message came and what it says, as lines of JSON; closes the descriptors that come along, as systemd
// does (BARRIER=1). Ends after five minutes.
const RECEIVER = `
import json, os, signal, socket, sys, time
signal.alarm(300)
address = sys.argv[1]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("\\0" + address[1:] if address.startswith("@") else address)
print("ready", flush=True)
while True:
    message, fds, flags, sender = socket.recv_fds(s, 8192, 8)
    at = time.monotonic()
    for fd in fds: os.close(fd)
    print(json.dumps([at, message.decode()]), flush=True)
`;

/** A message, and when it came in milliseconds on the clock of `performance.now()`. */
export interface Notified {
  readonly at: number;
  readonly text: string;
}

/** Returns what is missing on this machine, if anything is. */
export function whyNotHere(): string | undefined {
  const missing = ["python3", "systemd-notify"].find((program) => spawnSync(program, ["--version"]).status !== 0);
  return missing === undefined ? undefined : `there is no ${missing} here`;
}

/** Receives what is sent to one address. */
export class NotifyReceiver {
  readonly address: string;
  #child: ChildProcess;
  #output = "";

  private constructor(address: string) {
    this.address = address;
    this.#child = spawn("python3", ["-c", RECEIVER, address], { stdio: ["ignore", "pipe", "inherit"] });
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.#output += text;
    });
  }

  /** Starts one; resolves when it can be sent to. */
  static async start(address: string): Promise<NotifyReceiver> {
    const receiver = new NotifyReceiver(address);
    while (!receiver.#output.includes("ready")) await sleep(5);
    return receiver;
  }

  /** What came so far, without barriers. */
  get messages(): readonly Notified[] {
    // Python's clock and ours are the same, but for where they begin.
    const offset = performance.now() - Number(process.hrtime.bigint()) / 1e6;
    const lines = this.#output.split("\n").slice(1, -1);
    return lines
      .map((line) => JSON.parse(line) as [number, string])
      .map(([seconds, text]) => ({ at: seconds * 1_000 + offset, text: text.trim() }))
      .filter(({ text }) => text !== "BARRIER=1");
  }

  /** The messages that begin with `text`. */
  all(text: string): readonly Notified[] {
    return this.messages.filter((message) => message.text.startsWith(text));
  }

  /** Waits until so many messages that begin with `text` have come; returns the last of these. */
  async has(text: string, count = 1): Promise<Notified> {
    const limit = performance.now() + 40_000;
    for (;;) {
      const found = this.all(text)[count - 1];
      if (found !== undefined) return found;
      if (performance.now() > limit) throw new Error(`no ${text} in time, but ${JSON.stringify(this.messages)}`);
      await sleep(10);
    }
  }

  stop(): void {
    this.#child.kill("SIGKILL");
  }
}
