// Attributes of elements that are kept as text, found cheaply: a simulation looks at very many.

const PATTERNS = new Map<string, RegExp>();

/** Returns an attribute of the first tag of `xml` as it is written, or undefined. */
export function attr(xml: string, name: string): string | undefined {
  let pattern = PATTERNS.get(name);
  if (pattern === undefined) {
    pattern = new RegExp(`^[^>]*?\\s${name}=(?:"([^"]*)"|'([^']*)')`);
    PATTERNS.set(name, pattern);
  }
  const found = pattern.exec(xml);
  return found?.[1] ?? found?.[2];
}
