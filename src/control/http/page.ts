// The page at `/`: its files, read once, each with an ETag. What it does is in page/.

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { begin } from "./answers.ts";

const FILES: Readonly<Record<string, { readonly file: string; readonly type: string }>> = {
  "/": { file: "index.html", type: "text/html; charset=utf-8" },
  "/page.css": { file: "page.css", type: "text/css; charset=utf-8" },
  "/page.js": { file: "page.js", type: "text/javascript; charset=utf-8" },
  "/view.js": { file: "view.js", type: "text/javascript; charset=utf-8" },
  "/stream.js": { file: "stream.js", type: "text/javascript; charset=utf-8" },
  "/icon.svg": { file: "icon.svg", type: "image/svg+xml" },
};

interface PageFile {
  readonly type: string;
  readonly bytes: Buffer;
  readonly etag: string;
}

/** The files of the page. */
export class Page {
  #files: ReadonlyMap<string, PageFile>;

  /** Use `Page.load`. */
  private constructor(files: ReadonlyMap<string, PageFile>) {
    this.#files = files;
  }

  /** Reads the files, which lie beside the code in the source tree and in the published package. */
  static async load(): Promise<Page> {
    const files = new Map<string, PageFile>();
    for (const [path, { file, type }] of Object.entries(FILES)) {
      const bytes = await readFile(new URL(`page/${file}`, import.meta.url));
      files.set(path, {
        type,
        bytes,
        etag: `"${createHash("sha256").update(bytes).digest("base64url").slice(0, 22)}"`,
      });
    }
    return new Page(files);
  }

  /** Whether there is a file at the path. */
  has(path: string): boolean {
    return this.#files.has(path);
  }

  /** Answers with the file at the path, or with word that the client has it already. */
  serve(path: string, request: IncomingMessage, response: ServerResponse): void {
    const file = this.#files.get(path);
    if (file === undefined) return;
    // The page must be that of the server that answers, which may be another one after a restart: it is asked for each time.
    const headers = { ETag: file.etag, "Cache-Control": "no-cache" };
    if (request.headers["if-none-match"] === file.etag) {
      begin(response, 304, headers);
      response.end();
      return;
    }
    begin(response, 200, { ...headers, "Content-Type": file.type, "Content-Length": String(file.bytes.length) });
    response.end(file.bytes);
  }
}
