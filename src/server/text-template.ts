// Texts with placeholders in the options of modules, such as "The server is going down: {reason}".

import { z } from "zod";

/** Returns the schema of a text in which only the placeholders `known` may stand, in braces. */
export function template(known: readonly string[]): z.ZodString {
  return z
    .string()
    .max(2_000)
    .superRefine((text, context) => {
      for (const [whole, name = ""] of text.matchAll(/\{(\w*)\}/g)) {
        if (known.includes(name)) continue;
        const message = `there is no placeholder ${whole} here, only {${known.join("}, {")}}`;
        context.addIssue({ code: "custom", message });
      }
    });
}

/** Returns `text` with each placeholder that `values` knows replaced by its value. */
export function filled(text: string, values: Readonly<Record<string, string>>): string {
  return text.replaceAll(/\{(\w*)\}/g, (whole, name: string) => values[name] ?? whole);
}
