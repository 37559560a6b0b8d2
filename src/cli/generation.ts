// What this process has of the one before it, and how it starts the one after it: inherited listening sockets and state,
// sockets of a service manager, a keeper. Read once, before anything else is done with the environment.

import {
  activatedListeners,
  type Inheritance,
  inheritance,
  keptSpawn,
  type SpawnSuccessor,
  type SuccessorCommand,
  sameCommand,
} from "../handover/index.ts";
import { InheritedListeners } from "../net/inherited.ts";
import type { Clock } from "../util/clock.ts";
import { type ManagedProcess, readManager } from "./systemd.ts";

/** A process in a line of processes that serve one after the other. */
export interface Generation {
  /** What a predecessor hands over; undefined at a plain start. */
  readonly inheritance: Inheritance | undefined;
  readonly listeners: InheritedListeners;
  /** How a successor is started where it may not be our own child. */
  readonly spawnSuccessor: SpawnSuccessor | undefined;
  /** What systemd says. */
  readonly manager: ManagedProcess;
  /** What starts this program again, as it was started. */
  readonly command: SuccessorCommand;
}

/**
 * Reads what has been passed to this process, and removes it from its environment, so that no other program takes it for
 * its own. Throws when something was passed that cannot be used.
 */
export function readGeneration(port: NodeJS.Process, clock: Clock): Generation {
  const inherited = inheritance({ environment: port.env, clock });
  const activated = activatedListeners(port.env, port.pid);
  const spawnSuccessor = keptSpawn(port.env, port);
  // Of a kept process the keeper is the one that systemd knows.
  const isSuccessor = inherited !== undefined || spawnSuccessor !== undefined;
  const manager = readManager(port.env, { pid: port.pid, isSuccessor });
  return {
    inheritance: inherited,
    listeners: new InheritedListeners(inherited?.listeners ?? activated),
    spawnSuccessor,
    manager,
    command: sameCommand(port),
  };
}
