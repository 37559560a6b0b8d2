// Network addresses as text: those of the configuration taken apart, those of peers put into groups.

/** Splits `"[::1]:5222"` or `"0.0.0.0:5222"`, whose form the configuration has checked. */
export function splitAddress(address: string): { readonly host: string; readonly port: number } {
  const colon = address.lastIndexOf(":");
  return { host: address.slice(0, colon).replace(/^\[|\]$/g, ""), port: Number(address.slice(colon + 1)) };
}

/** Returns whom `address` counts as where connections are counted: IPv4 as it is, IPv6 by the /64 that one user has. */
export function addressGroup(address: string): string {
  if (!address.includes(":")) return address;
  const [head = "", tail] = address.split("::");
  const first = head === "" ? [] : head.split(":");
  const last = tail === undefined || tail === "" ? [] : tail.split(":");
  const groups = [...first, ...Array<string>(Math.max(0, 8 - first.length - last.length)).fill("0"), ...last];
  return `${groups.slice(0, 4).join(":")}::/64`;
}
