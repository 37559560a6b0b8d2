// The very end: after the last phase a process should end by itself, because nothing holds its event loop any more. If
// something does, this names it and then ends the process all the same.

import { systemClock } from "../util/clock.ts";
import type { Logger } from "../util/log.ts";

/** What the end of a process needs of it; `process` satisfies it. */
export interface ExitPort {
  exitCode?: number | string | null | undefined;
  exit(code: number): void;
  getActiveResourcesInfo(): string[];
}

export interface LeaveOptions {
  /** The code to exit with. */
  readonly code: number;
  readonly log: Logger;
  /** How long the process may take to end by itself (500 ms unless told). */
  readonly afterMs?: number;
  /** The process to end; our own unless given. */
  readonly port?: ExitPort;
}

/**
 * Sets the exit code and lets the process end by itself. If it is still there after `afterMs`, what holds its event loop
 * is logged by name and the process is ended. Does not hold the event loop itself.
 */
export function leave(options: LeaveOptions): void {
  const { code, log, afterMs = 500, port = process } = options;
  port.exitCode = code;
  const timer = setTimeout(() => {
    log.warn({ holders: loopHolders(port), code }, "something still holds the event loop; ending the process");
    // Logging may take a turn to reach its file.
    systemClock.soon(() => port.exit(code));
  }, afterMs);
  timer.unref();
}

/** Returns what holds the event loop, such as `TCP server 127.0.0.1:5222` or `2 timers`; standard streams do not count. */
export function loopHolders(port: Pick<ExitPort, "getActiveResourcesInfo"> = process): string[] {
  const holders = activeHandles().map(describeHandle);
  const counts = new Map<string, number>();
  for (const type of port.getActiveResourcesInfo()) {
    if (!DESCRIBED.has(type)) counts.set(type, (counts.get(type) ?? 0) + 1);
  }
  for (const [type, count] of counts) holders.push(count === 1 ? type : `${count} x ${type}`);
  return holders;
}

/** Returns the handles that hold the event loop, the standard streams left out. */
export function activeHandles(): object[] {
  return listHandles().filter((handle) => !isStandardStream(handle));
}

/** Resource types whose handles `activeHandles` shows; counting them too would name them twice. */
export const DESCRIBED: ReadonlySet<string> = new Set([
  "TCPSocketWrap",
  "TCPServerWrap",
  "TTYWrap",
  "PipeWrap",
  "PipeServerWrap",
  "ProcessWrap",
  "UDPWrap",
  "UDPSendWrap",
  "MessagePort",
  "Worker",
]);

function listHandles(): object[] {
  // Undocumented, and the only way to tell which socket it is; without it the types are still counted.
  const list: unknown = Reflect.get(process, "_getActiveHandles");
  if (typeof list !== "function") return [];
  const handles: unknown = list.call(process);
  return Array.isArray(handles) ? handles.filter((handle) => typeof handle === "object" && handle !== null) : [];
}

/** Says which handle it is, such as `server 127.0.0.1:5222`. */
export function describeHandle(handle: object): string {
  const type = handle.constructor.name;
  const get = (name: string): string | undefined => {
    const value: unknown = Reflect.get(handle, name);
    return typeof value === "string" || typeof value === "number" ? String(value) : undefined;
  };
  switch (type) {
    case "Server":
      return `server ${serverAddress(handle)}`;
    case "Socket":
    case "TLSSocket": {
      if (get("remoteAddress") === undefined)
        return type === "Socket" ? `pipe or socket (fd ${descriptor(handle) ?? "?"})` : type;
      return `TCP connection ${get("localAddress")}:${get("localPort")} - ${get("remoteAddress")}:${get("remotePort")}`;
    }
    case "ChildProcess":
      return `child process ${get("pid") ?? "?"} (${get("spawnfile") ?? "?"})`;
    default:
      return type;
  }
}

function serverAddress(server: object): string {
  const address: unknown = "address" in server && typeof server.address === "function" ? server.address() : undefined;
  if (typeof address === "string") return address;
  if (typeof address !== "object" || address === null || !("address" in address) || !("port" in address))
    return "(closed)";
  return `${String(address.address)}:${String(address.port)}`;
}

function isStandardStream(handle: object): boolean {
  return (
    handle === process.stdin || handle === process.stdout || handle === process.stderr || (descriptor(handle) ?? 3) < 3
  );
}

function descriptor(handle: object): number | undefined {
  const inner: unknown = Reflect.get(handle, "_handle");
  const fd: unknown =
    typeof inner === "object" && inner !== null ? Reflect.get(inner, "fd") : Reflect.get(handle, "fd");
  return typeof fd === "number" && fd >= 0 ? fd : undefined;
}
