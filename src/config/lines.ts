// Finds the line on which an option stands in a TOML text that is known to be valid: smol-toml gives values without
// places. Knows just enough of the syntax for that: headers, keys, and where a value that spans lines ends.

/** Returns the line (from 1) of the option at a path, or of the nearest table around it; undefined when none is there. */
export type LineOf = (path: readonly PropertyKey[]) => number | undefined;

/** Reads `text` once and returns a finder for the lines of its options. */
export function lineFinder(text: string): LineOf {
  const lines = new Map<string, number>();
  const counts = new Map<string, number>();
  let table: readonly PropertyKey[] = [];
  let open: Open = { depth: 0, quote: undefined };
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    let rest = line;
    if (open.depth === 0 && open.quote === undefined) {
      const trimmed = line.trim();
      if (trimmed === "" || trimmed.startsWith("#")) continue;
      if (trimmed.startsWith("[")) {
        table = header(trimmed, counts);
        note(lines, table, index + 1);
        continue;
      }
      const key = readKey(trimmed);
      note(lines, [...table, ...key.parts], index + 1);
      rest = trimmed.slice(key.end);
    }
    open = scan(rest, open);
  }
  return (path) => {
    for (let length = path.length; length > 0; length--) {
      const found = lines.get(keyOf(path.slice(0, length)));
      if (found !== undefined) return found;
    }
    return undefined;
  };
}

function note(lines: Map<string, number>, path: readonly PropertyKey[], line: number): void {
  // The first mention counts, also for the tables that a header implies.
  for (let length = 1; length <= path.length; length++) {
    const key = keyOf(path.slice(0, length));
    if (!lines.has(key)) lines.set(key, line);
  }
}

function keyOf(path: readonly PropertyKey[]): string {
  return path.map(String).join("\0");
}

/** Returns the path a `[table]` or `[[list]]` header stands for; list headers get their position. */
function header(line: string, counts: Map<string, number>): readonly PropertyKey[] {
  const isList = line.startsWith("[[");
  const { parts } = readKey(line.slice(isList ? 2 : 1));
  const path: PropertyKey[] = [];
  for (const [index, part] of parts.entries()) {
    path.push(part);
    const key = keyOf(path);
    const last = index === parts.length - 1;
    if (last && isList) counts.set(key, (counts.get(key) ?? -1) + 1);
    const position = counts.get(key);
    if (position !== undefined) path.push(position);
  }
  return path;
}

/** Reads a dotted key, whose parts may be quoted; `end` is where it stops. */
function readKey(line: string): { readonly parts: readonly string[]; readonly end: number } {
  const parts: string[] = [];
  const part = /\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([\w-]+))\s*(\.?)/y;
  for (;;) {
    const match = part.exec(line);
    if (match === null) return { parts, end: line.length };
    parts.push(match[1] ?? match[2] ?? match[3] ?? "");
    if (match[4] === "") return { parts, end: part.lastIndex };
  }
}

/** What is still open at the end of a line: brackets, and the quotes of a text that spans lines. */
interface Open {
  readonly depth: number;
  readonly quote: '"""' | "'''" | undefined;
}

function scan(line: string, open: Open): Open {
  let { depth, quote } = open;
  let at = 0;
  while (at < line.length) {
    if (quote !== undefined) {
      if (quote === '"""' && line[at] === "\\") at += 2;
      else if (line.startsWith(quote, at)) {
        at += 3;
        quote = undefined;
      } else at++;
      continue;
    }
    const char = line[at];
    if (char === "#") break;
    if (line.startsWith('"""', at) || line.startsWith("'''", at)) {
      quote = char === '"' ? '"""' : "'''";
      at += 3;
    } else if (char === '"' || char === "'") at = endOfString(line, at);
    else {
      if (char === "[" || char === "{") depth++;
      if (char === "]" || char === "}") depth--;
      at++;
    }
  }
  return { depth, quote };
}

function endOfString(line: string, start: number): number {
  const quote = line[start];
  let at = start + 1;
  while (at < line.length && line[at] !== quote) at += quote === '"' && line[at] === "\\" ? 2 : 1;
  return at + 1;
}
