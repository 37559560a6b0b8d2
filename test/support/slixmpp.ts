// slixmpp, a client library for Python: how its users in these tests (*-library-child.py) are started.

import { spawnSync } from "node:child_process";

/** Python, which is to leave no compiled files beside the programs. */
export const PYTHON = ["/usr/bin/python3", "-B"] as const;

/** Why slixmpp cannot be used on this machine, if so. */
export function slixmppMissing(): string | undefined {
  const [file, ...args] = PYTHON;
  const { status } = spawnSync(file, [...args, "-c", "import slixmpp"]);
  return status === 0 ? undefined : "slixmpp is not installed (Debian: python3-slixmpp)";
}
