// "host:port" texts of the configuration, taken apart.

/** Splits `"[::1]:5222"` or `"0.0.0.0:5222"`, whose form the configuration has checked. */
export function splitAddress(address: string): { readonly host: string; readonly port: number } {
  const colon = address.lastIndexOf(":");
  return { host: address.slice(0, colon).replace(/^\[|\]$/g, ""), port: Number(address.slice(colon + 1)) };
}
