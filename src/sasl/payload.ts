// The text of a SASL element and the bytes it stands for (RFC 6120 §6.4.2): strict base64, `=` for no bytes at all.

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** Returns the bytes; `"absent"` for an empty element, undefined for bad base64: `incorrect-encoding`. */
export function decodePayload(text: string): Buffer | "absent" | undefined {
  if (text === "") return "absent";
  if (text === "=") return Buffer.alloc(0);
  return decodeBase64(text);
}

/** Returns the text for `data`; the empty text for undefined. */
export function encodePayload(data: Buffer | undefined): string {
  if (data === undefined) return "";
  return data.length === 0 ? "=" : data.toString("base64");
}

/** Returns the bytes of strict base64, undefined for anything else. */
export function decodeBase64(text: string): Buffer | undefined {
  return BASE64.test(text) ? Buffer.from(text, "base64") : undefined;
}
