import assert from "node:assert/strict";
import {
  type DataForm,
  type FormValues,
  formElement,
  readSubmittedForm,
  resultElement,
} from "../../../src/stanza/data-form.ts";
import { parseElement } from "../../../src/testing/parse-element.ts";

const FORM: DataForm = {
  formType: "urn:x",
  title: "T",
  instructions: "I",
  fields: [
    { type: "fixed", value: "Read this" },
    { name: "who", type: "jid-single", label: "Who", required: true },
    { name: "others", type: "jid-multi" },
    { name: "text", type: "text-multi" },
    { name: "yes", type: "boolean", value: true },
    { name: "when", type: "list-single", options: [{ value: "0", label: "now" }, { value: "30" }] },
    { name: "any", type: "list-multi" },
    { name: "secret", type: "text-private", description: "nobody sees it" },
  ],
};

function field(name: string, ...values: string[]): string {
  return `<field var="${name}">${values.map((value) => `<value>${value}</value>`).join("")}</field>`;
}

function read(fields: string, form = FORM): FormValues | string {
  return readSubmittedForm(parseElement(`<x xmlns="jabber:x:data" type="submit">${fields}</x>`), form);
}

function values(fields: string): FormValues {
  const result = read(fields);
  return typeof result === "string" ? assert.fail(result) : result;
}

describe("data forms", () => {
  it("writes a form with its fields in order", () => {
    const text = formElement(FORM).toString();
    assert.match(
      text,
      /^<x xmlns="jabber:x:data" type="form"><title>T<\/title><instructions>I<\/instructions><field var="FORM_TYPE" type="hidden"><value>urn:x<\/value><\/field><field type="fixed">/,
    );
    assert.ok(text.includes('<field var="who" type="jid-single" label="Who"><required/></field>'));
    assert.ok(text.includes('<field var="yes" type="boolean"><value>1</value></field>'));
    assert.ok(text.includes('<option label="now"><value>0</value></option><option><value>30</value></option>'));
    assert.ok(text.includes('<field var="secret" type="text-private"><desc>nobody sees it</desc></field>'));
  });

  it("writes a result with lines and lists as several values, and nothing to fill in", () => {
    const text = resultElement({
      instructions: "I",
      fields: [
        { name: "a", type: "text-multi", value: "one\ntwo" },
        { name: "b", type: "jid-multi", value: ["x@a", "y@a"], required: true },
      ],
    }).toString();
    assert.equal(
      text,
      '<x xmlns="jabber:x:data" type="result"><field var="a" type="text-multi"><value>one</value><value>two</value></field>' +
        '<field var="b" type="jid-multi"><value>x@a</value><value>y@a</value></field></x>',
    );
  });

  it("reads what was filled in", () => {
    const read = values(
      field("FORM_TYPE", "urn:x") +
        field("who", "Romeo@A.test") +
        field("others", "a@b", "b@b/x") +
        field("text", "one", "", "three", "") +
        field("yes", "true") +
        field("when", "30") +
        field("unknown", "x"),
    );
    assert.deepEqual(read.jids("who").map(String), ["romeo@a.test"]);
    assert.deepEqual(read.jids("others").map(String), ["a@b", "b@b/x"]);
    assert.equal(read.text("text"), "one\n\nthree");
    assert.equal(read.flag("yes"), true);
    assert.equal(read.text("when"), "30");
    assert.equal(read.text("unknown"), "");
    assert.deepEqual(read.list("any"), []);
    assert.equal(read.flag("secret"), false);
  });

  it("takes any value where a list names no choices", () => {
    assert.deepEqual(values(field("who", "a@b") + field("any", "x", "y")).list("any"), ["x", "y"]);
  });

  const who = field("who", "a@b");
  for (const [what, fields, problem] of [
    ["a required field that is missing", "", /^Who is required/],
    ["a required field that is empty", field("who", ""), /^Who is required/],
    ["what is no address", field("who", "@"), /^Who: "@" is not an address/],
    ["several values for a single one", field("who", "a@b", "c@b"), /only one value/],
    ["one bad address among several", who + field("others", "a@b", "@"), /others: "@" is not/],
    ["what is no choice", who + field("when", "31"), /when: "31" is no choice/],
    ["what is neither true nor false", who + field("yes", "maybe"), /neither true nor false/],
    ["the same field twice", who + who, /twice/],
    ["another form", who + field("FORM_TYPE", "urn:y"), /another form/],
    ["too many fields", who + Array.from({ length: 100 }, (_, i) => field(`f${i}`)).join(""), /more than 100 fields/],
    ["too many values", who + field("others", ...Array.from({ length: 1001 }, () => "a@b")), /more than 1000 values/],
    ["too much text", who + field("unknown", "x".repeat(65_537)), /longer than 65536 characters/],
  ] as const) {
    it(`refuses ${what}, in words`, () => {
      const result = read(fields);
      assert.match(typeof result === "string" ? result : "no problem", problem);
    });
  }

  it("refuses what is no form, or none that was filled in", () => {
    for (const xml of [
      '<x xmlns="urn:y" type="submit"/>',
      '<y xmlns="jabber:x:data" type="submit"/>',
      `<x xmlns="jabber:x:data">${who}</x>`,
      `<x xmlns="jabber:x:data" type="cancel">${who}</x>`,
    ]) {
      assert.equal(typeof readSubmittedForm(parseElement(xml), FORM), "string", xml);
    }
  });
});
