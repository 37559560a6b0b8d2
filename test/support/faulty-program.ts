// What a program of the tests puts in front of the real server to make it fail as a successor: something bad happens to it, or
// to its predecessor, at once or at the moment at which it reads a certain message of its predecessor. At a plain start
// it does nothing.

import { Socket } from "node:net";

/** `now`, or the message (src/handover/protocol.ts) at whose arrival it happens. */
export type Moment = "now" | "state" | "state-end" | "commit" | "yours";

/** What happens: to the process itself, or to the predecessor. */
export type Fault = "throw" | "exit" | "kill" | "stop" | "terminate" | "kill the predecessor";

/** The descriptor of the channel. */
const CHANNEL_FD = 3;

/** Lets `what` happen once, at `when`. */
export function fault(when: Moment, what: Fault): void {
  const { MORENDO_HANDOVER: inherited } = process.env;
  if (inherited === undefined) return;
  const { predecessor } = JSON.parse(inherited) as { readonly predecessor: number };
  if (when === "now") {
    happen(what, predecessor);
    return;
  }
  const original = Socket.prototype.push;
  Socket.prototype.push = function (this: Socket, chunk: unknown, encoding?: BufferEncoding): boolean {
    const isChannel = Reflect.get(Object(Reflect.get(this, "_handle")), "fd") === CHANNEL_FD;
    if (isChannel && Buffer.isBuffer(chunk) && chunk.includes(`{"type":"${when}"`)) {
      Socket.prototype.push = original;
      happen(what, predecessor);
    }
    return original.call(this, chunk, encoding);
  };
}

function happen(what: Fault, predecessor: number): void {
  if (what === "throw") throw new Error("thrown on purpose");
  if (what === "exit") process.exit(7);
  if (what === "kill") process.kill(process.pid, "SIGKILL");
  if (what === "stop") process.kill(process.pid, "SIGSTOP");
  if (what === "terminate") process.kill(process.pid, "SIGTERM");
  if (what === "kill the predecessor") process.kill(predecessor, "SIGKILL");
}
