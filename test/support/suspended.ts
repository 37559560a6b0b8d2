// What tests of suspended servers share: clients whose white space is counted, and the data folder as text to compare.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { TcpNetwork } from "../../src/net/tcp.ts";
import type { Network, TransportReader } from "../../src/net/transport.ts";
import { systemClock } from "../../src/util/clock.ts";
import { silentLog } from "../../src/util/log.ts";

/** A network that counts the pieces of white space that come in, and nothing but white space. */
export class WhiteSpaceNetwork implements Network {
  #inner = new TcpNetwork({ clock: systemClock, log: silentLog });
  count = 0;

  listen: Network["listen"] = (...args) => this.#inner.listen(...args);

  dial: Network["dial"] = async (options) => {
    const transport = await this.#inner.dial(options);
    const setReader = transport.setReader.bind(transport);
    transport.setReader = (reader) => {
      const counting: TransportReader = {
        onData: (chunk) => {
          if (/^ +$/.test(chunk.toString())) this.count++;
          reader.onData(chunk);
        },
        onEnd: () => reader.onEnd(),
        onDrain: () => reader.onDrain(),
        onClose: (end) => reader.onClose(end),
      };
      setReader(counting);
    };
    return transport;
  };
}

/** What is in a folder, by name and content: two of these are equal when nothing in it has changed. */
export function contentOf(folder: string): string {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))
    .toSorted()
    .map((file) => `${file.slice(folder.length)} ${createHash("sha256").update(readFileSync(file)).digest("hex")}`)
    .join("\n");
}
