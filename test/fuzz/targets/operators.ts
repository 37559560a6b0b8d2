// What operators and their browsers send: data forms (XEP-0004), and requests over HTTP as far as they are read by us and
// not by Node.

import assert from "node:assert/strict";
import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { readJson } from "../../../src/control/http/body.ts";
import { streamFormat } from "../../../src/control/http/event-stream.ts";
import { negotiate } from "../../../src/control/http/exposition.ts";
import { hostCheck } from "../../../src/control/http/host-check.ts";
import {
  type DataForm,
  FormValues,
  formElement,
  readSubmittedForm,
  resultElement,
} from "../../../src/stanza/data-form.ts";
import { parseStanza } from "../../../src/stanza/parse-stanza.ts";
import { NS } from "../../../src/xml/ns.ts";
import { cut, type Target } from "../harness/target.ts";

const FORM: DataForm = {
  formType: "urn:fuzz",
  title: "t",
  fields: [
    { name: "text", type: "text-single", required: true },
    { name: "lines", type: "text-multi" },
    { name: "who", type: "jid-multi" },
    { name: "one", type: "list-single", options: [{ value: "a" }, { value: "b" }] },
    { name: "flag", type: "boolean" },
    { name: "constructor", type: "text-single" },
    { type: "fixed", value: "x" },
  ],
};
const OPEN = `<message from='a@b.test'><x xmlns='${NS.dataForms}' type='submit'>`;
const field = (name: string, ...values: string[]): string =>
  `<field var='${name}'>${values.map((value) => `<value>${value}</value>`).join("")}</field>`;

/** Forms that were filled in. */
export const forms: Target = {
  name: "forms",
  seeds: [
    `${OPEN}${field("FORM_TYPE", "urn:fuzz")}${field("text", "x")}${field("lines", "1", "", "3")}${field("who", "a@b")}${field("one", "a")}${field("flag", "1")}</x></message>`,
    `${OPEN}${field("text", "x", "y")}${field("__proto__", "z")}</x></message>`,
  ],
  words: [
    "<field var='",
    "<value>",
    "</value>",
    "</field>",
    "text",
    "lines",
    "who",
    "one",
    "flag",
    "constructor",
    "__proto__",
    "FORM_TYPE",
    "true",
    "type='submit'",
    "type='cancel'",
    field("a", "b").repeat(60),
    "<value/>".repeat(300),
  ],
  run(input) {
    const element = parseStanza(input.toString())?.element.getChildElements()[0];
    if (element === undefined) return;
    const read = readSubmittedForm(element, FORM);
    if (typeof read === "string") {
      assert.ok(read !== "" && read.length < 1_000, "a sentence that nobody can read");
      return;
    }
    assert.ok(read instanceof FormValues && read.text("text") !== "", "a required field is empty");
    assert.equal(read.jids("who").length, read.list("who").length, "an address that is none");
    assert.ok(["", "a", "b"].includes(read.text("one")), "a choice that is none");
    for (const make of [formElement, resultElement]) {
      const fields = FORM.fields.map((one) =>
        one.type === "text-single" ? { ...one, value: read.text(one.name ?? "") } : one,
      );
      assert.ok(
        parseStanza(`<message>${make({ ...FORM, fields }).toString()}</message>`) !== undefined,
        "a form that cannot be read",
      );
    }
  },
};

const known = hostCheck(["morendo.test"]);

/** Bodies of requests; the first line is the header Host, the second Accept. */
export const http: Target = {
  name: "http",
  seeds: [
    'localhost:5280\ntext/plain;q=0.5, application/openmetrics-text\n{"reason":"x","delay":5}',
    "[::1]:80\ntext/event-stream\n",
    "evil.test\n\n[1]",
    "a\nb\nnull",
  ],
  words: [
    "\n",
    "localhost",
    "morendo.test",
    "127.0.0.1",
    "[::1]",
    ":",
    "@",
    "/",
    "q=",
    ";",
    ",",
    "text/*",
    "application/openmetrics-text",
    "{",
    "}",
    '"__proto__":',
    "[".repeat(500),
    '"',
    Buffer.of(0xff),
    "\ud800",
  ],
  async run(input, random) {
    const [host = "", accept = "", ...rest] = input.toString("latin1").split("\n");
    if (known(host))
      assert.match(host, /^(localhost|morendo\.test|\[?[0-9a-f.:]+\]?)(:\d+)?$/i, "a host that is not ours");
    assert.match(negotiate(accept), /^(openmetrics|prometheus)$/);
    streamFormat(accept);
    const bytes = Buffer.from(rest.join("\n"), "latin1");
    const request = (pieces: Buffer[]): IncomingMessage =>
      Object.assign(Readable.from(pieces), {
        headers: { "content-type": "application/json", "content-length": String(bytes.length) },
      }) as unknown as IncomingMessage;
    const whole = await readJson(request(bytes.length === 0 ? [] : [bytes]));
    assert.deepEqual(await readJson(request(cut(bytes, random))), whole, "another body when it is cut");
  },
};
