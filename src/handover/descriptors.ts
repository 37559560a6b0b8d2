// File descriptors that came from another process: what they are, and closing those that nobody wants.

import { closeSync, fstatSync } from "node:fs";
import type { PassedListener } from "./successor-process.ts";

/** Tells whether `fd` is an open socket. */
export function isSocket(fd: number): boolean {
  try {
    return fstatSync(fd).isSocket();
  } catch {
    return false;
  }
}

/** Closes a listening socket that nobody here wants. Connections that wait in it are reset once nobody else has it either. */
export function closeListener({ fd }: PassedListener): void {
  closeSync(fd);
}
