// What this process has open, as Linux tells it under /proc: files by path, sockets by address, children by command line.
// Elsewhere nothing is known and everything is empty.

import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** Paths that are no files of ours. */
const NOT_FILES = ["/dev/", "/proc/", "/sys/"];

/** Returns the open files by their descriptors, as `12 /path`. */
export function openFiles(): Map<string, string> {
  const files = new Map<string, string>();
  for (const [fd, target] of descriptors()) {
    if (!target.startsWith("/") || NOT_FILES.some((prefix) => target.startsWith(prefix))) continue;
    files.set(`${fd} ${target}`, target.replace(/ \(deleted\)$/, ""));
  }
  return files;
}

/** Returns the open sockets by their inodes, each with its addresses; those without an address are not told. */
export function openSockets(): Map<string, string> {
  const addresses = new Map<string, string>();
  for (const [file, family] of [
    ["tcp", "TCP"],
    ["tcp6", "TCP"],
    ["udp", "UDP"],
    ["udp6", "UDP"],
  ] as const) {
    for (const line of tableOf(file)) {
      const [, local = "", remote = "", state, , , , , , inode = ""] = line.trim().split(/\s+/);
      const isListening = state === "0A";
      const ends = isListening ? `${place(local)} (listening)` : `${place(local)} - ${place(remote)}`;
      addresses.set(inode, `${family} ${ends}`);
    }
  }
  for (const line of tableOf("unix")) {
    const [, , , , , , inode = "", path = ""] = line.trim().split(/\s+/);
    if (path !== "") addresses.set(inode, `UNIX ${path}`);
  }
  const sockets = new Map<string, string>();
  for (const [, target] of descriptors()) {
    const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
    const address = inode === undefined ? undefined : addresses.get(inode);
    if (inode !== undefined && address !== undefined) sockets.set(inode, address);
  }
  return sockets;
}

/** Returns the child processes, each with its command line. */
export function childProcesses(): Map<string, string> {
  const children = new Map<string, string>();
  for (const thread of list("/proc/self/task")) {
    for (const pid of read(`/proc/self/task/${thread}/children`).split(" ").filter(Boolean)) {
      const command = read(`/proc/${pid}/cmdline`).replaceAll("\0", " ").trim();
      // The compiler that runs TypeScript for the tests starts when it is first needed, and stays.
      if (command !== "" && !command.includes("--service=")) children.set(pid, `${pid} (${command})`);
    }
  }
  return children;
}

function* descriptors(): Generator<[fd: string, target: string]> {
  for (const fd of list("/proc/self/fd")) {
    const target = link(`/proc/self/fd/${fd}`);
    if (target !== undefined) yield [fd, target];
  }
}

function link(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    // The descriptor by which the list itself was read is closed by now.
    return undefined;
  }
}

function tableOf(name: string): string[] {
  return read(`/proc/self/net/${name}`).split("\n").slice(1).filter(Boolean);
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    // Not Linux.
    return [];
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    // Not Linux, or gone meanwhile.
    return "";
  }
}

/** `0100007F:1466` is 127.0.0.1:5222: the words of the address are in the machine's byte order. */
function place(text: string): string {
  const [address = "", port = "0"] = text.split(":");
  const bytes = (address.match(/.{8}/g) ?? []).flatMap((word) => (word.match(/../g) ?? []).reverse());
  const numbers = bytes.map((byte) => Number.parseInt(byte, 16));
  const isMapped = numbers.length === 16 && numbers.slice(0, 12).join() === "0,0,0,0,0,0,0,0,0,0,255,255";
  const shown = numbers.length === 4 || isMapped ? numbers.slice(-4).join(".") : `[${groups(bytes)}]`;
  return `${shown}:${Number.parseInt(port, 16)}`;
}

function groups(bytes: readonly string[]): string {
  const parts: string[] = [];
  for (let at = 0; at < bytes.length; at += 2) parts.push(`${bytes[at]}${bytes[at + 1]}`.replace(/^0+(?=.)/, ""));
  return parts.join(":").replace(/(^|:)0(:0)+(:|$)/, "::");
}
