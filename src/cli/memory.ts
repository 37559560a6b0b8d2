// How much memory the process takes for what it throws away. Not for: limits on what the server keeps.

import { setFlagsFromString } from "node:v8";

/**
 * Keeps V8's nursery at its first size of 1 MiB. Left alone it grows to 16 MiB three times over and is never given back,
 * which for an XMPP server with mostly idle sessions is the greater part of its memory: measured with a thousand idle TLS
 * sessions it was a third of all. Messages cost about a tenth more. Somebody who says `--max-semi-space-size` to Node, on the
 * command line or in NODE_OPTIONS, knows better and is left alone.
 */
export function keepNurserySmall(argv: readonly string[], nodeOptions: string | undefined): void {
  const isSaid = [...argv, ...(nodeOptions ?? "").split(/\s+/)].some((word) =>
    /^--max[-_]semi[-_]space[-_]size/.test(word),
  );
  if (!isSaid) setFlagsFromString("--semi-space-growth-factor=1");
}
