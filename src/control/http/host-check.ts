// Whether a browser meant us: a page of somebody else's can let its name point to this machine (DNS rebinding), and would
// then be of the same origin as ours. An address cannot be made to point elsewhere, so only names need to be known.

import { isIP } from "node:net";

/** Returns a check of the header `Host`; `names` are known beside `localhost` and addresses. */
export function hostCheck(names: readonly string[]): (host: string | undefined) => boolean {
  const known = new Set(["localhost", ...names.map((name) => name.toLowerCase())]);
  return (host) => {
    // Only HTTP/1.0 can go without, which no browser speaks.
    if (host === undefined) return true;
    const name = /^(\[[0-9A-Fa-f:.]+\]|[^:[\]@/\s]+)(?::\d{1,5})?$/.exec(host)?.[1];
    if (name === undefined) return false;
    return isIP(name.replace(/^\[|\]$/g, "")) !== 0 || known.has(name.toLowerCase());
  };
}
