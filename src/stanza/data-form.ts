// Data forms (XEP-0004): writes the forms and results that a feature describes, and reads what somebody has filled in
// against that description. Not for: tables of several items, media, or keeping forms.

import { Jid } from "../jid/jid.ts";
import { type Element, xml } from "../xml/element.ts";
import { NS } from "../xml/ns.ts";

/** What a field holds (XEP-0004 §3.3). */
export type FieldType =
  | "boolean"
  | "fixed"
  | "hidden"
  | "jid-multi"
  | "jid-single"
  | "list-multi"
  | "list-single"
  | "text-multi"
  | "text-private"
  | "text-single";

/** One of the choices of a list. */
export interface FieldOption {
  readonly value: string;
  /** What people are shown; the value unless given. */
  readonly label?: string;
}

/** A field of a form. */
export interface FormField {
  /** Its name; a field of the type `fixed`, which only says something, needs none. */
  readonly name?: string;
  readonly type: FieldType;
  /** What people are shown. */
  readonly label?: string;
  /** An explanation for people. */
  readonly description?: string;
  readonly required?: boolean;
  /** What it holds at first, or in a result. A text of several lines for `text-multi`. */
  readonly value?: string | boolean | readonly string[];
  /** The choices of a list; a list without any takes every value. */
  readonly options?: readonly FieldOption[];
}

/** A form to be filled in, or the fields of a result. */
export interface DataForm {
  /** The FORM_TYPE (XEP-0068), which says what the names of the fields mean. */
  readonly formType?: string;
  readonly title?: string;
  readonly instructions?: string;
  readonly fields: readonly FormField[];
}

/** How many fields a form that was filled in may have, known or not. */
const MAX_FIELDS = 100;
/** How many values one of them may have. */
const MAX_VALUES = 1_000;
/** How many characters all values may have together. */
const MAX_LENGTH = 64 * 1024;

const MULTIPLE: ReadonlySet<FieldType> = new Set<FieldType>(["jid-multi", "list-multi", "text-multi"]);

/** Returns the form for somebody to fill in. */
export function formElement(form: DataForm): Element {
  return dataElement(form, "form");
}

/** Returns the form as a result, in which there is nothing to fill in. */
export function resultElement(form: DataForm): Element {
  return dataElement(form, "result");
}

/** What somebody has filled in: read the fields by their names and as what they were described to be. */
export class FormValues {
  #values: ReadonlyMap<string, readonly string[]>;

  constructor(values: ReadonlyMap<string, readonly string[]> = new Map()) {
    this.#values = values;
  }

  /** Returns the text, with line breaks between several values; empty when nothing was filled in. */
  text(name: string): string {
    return this.list(name).join("\n");
  }

  /** Returns all values. */
  list(name: string): readonly string[] {
    return this.#values.get(name) ?? [];
  }

  /** Tells whether a boolean is true; one that was left out is not. */
  flag(name: string): boolean {
    const [value] = this.list(name);
    return value === "1" || value === "true";
  }

  /** Returns the addresses of a JID field. */
  jids(name: string): readonly Jid[] {
    return this.list(name).flatMap((text) => Jid.parse(text) ?? []);
  }
}

/**
 * Reads a form of the type `submit` (XEP-0004 §3.2) against the form that was sent. Fields that it does not have are left
 * out of the values, as are empty ones. Returns a sentence for people when something is wrong with it: required fields
 * that are empty, values that are not of the field's type, another FORM_TYPE, or too much of anything.
 */
export function readSubmittedForm(element: Element, form: DataForm): FormValues | string {
  if (!element.is("x", NS.dataForms)) return "this is not a data form";
  if (element.attrs.type !== "submit") return 'the type of the form is not "submit"';
  const submitted = valuesOf(element);
  if (typeof submitted === "string") return submitted;
  const [formType] = submitted.get(FORM_TYPE) ?? [];
  if (formType !== undefined && formType !== form.formType) return "this is another form: its FORM_TYPE differs";
  const values = new Map<string, readonly string[]>();
  for (const field of form.fields) {
    const { name, type, required = false } = field;
    if (name === undefined || type === "fixed") continue;
    const given = trimmed(submitted.get(name) ?? [], type);
    if (given.length === 0) {
      if (required) return `${titleOf(field)} is required`;
      continue;
    }
    const problem = problemOf(field, given);
    if (problem !== undefined) return `${titleOf(field)}: ${problem}`;
    values.set(name, given);
  }
  return new FormValues(values);
}

const FORM_TYPE = "FORM_TYPE";

/** The values of each field that has a name, or what is too much. */
function valuesOf(element: Element): Map<string, string[]> | string {
  const values = new Map<string, string[]>();
  let fields = 0;
  let length = 0;
  for (const field of element.getChildren("field", NS.dataForms)) {
    if (++fields > MAX_FIELDS) return `there are more than ${MAX_FIELDS} fields`;
    const { var: name } = field.attrs;
    if (name === undefined) continue;
    if (values.has(name)) return `the field ${JSON.stringify(name.slice(0, 100))} is there twice`;
    const texts = field.getChildren("value", NS.dataForms).map((value) => value.getText());
    if (texts.length > MAX_VALUES) return `a field has more than ${MAX_VALUES} values`;
    for (const text of texts) length += text.length;
    if (length > MAX_LENGTH) return `the values are longer than ${MAX_LENGTH} characters together`;
    values.set(name, texts);
  }
  return values;
}

/** The values without those that are nothing; the lines of a text stay as they are, but for empty ones at its end. */
function trimmed(values: readonly string[], type: FieldType): readonly string[] {
  if (type !== "text-multi") return values.filter((value) => value !== "");
  const last = values.findLastIndex((value) => value.trim() !== "");
  return values.slice(0, last + 1);
}

function problemOf({ type, options = [] }: FormField, values: readonly string[]): string | undefined {
  if (values.length > 1 && !MULTIPLE.has(type)) return "only one value is possible";
  for (const value of values) {
    const shown = JSON.stringify(value.slice(0, 100));
    switch (type) {
      case "boolean":
        if (!/^(0|1|true|false)$/.test(value)) return `${shown} is neither true nor false`;
        break;
      case "jid-multi":
      case "jid-single":
        if (Jid.parse(value) === undefined) return `${shown} is not an address`;
        break;
      case "list-multi":
      case "list-single":
        if (options.length > 0 && !options.some((option) => option.value === value)) return `${shown} is no choice`;
        break;
      default:
        break;
    }
  }
  return undefined;
}

function titleOf({ name = "", label = name }: FormField): string {
  return label;
}

function dataElement({ formType, title, instructions, fields }: DataForm, type: "form" | "result"): Element {
  return xml(
    "x",
    { xmlns: NS.dataForms, type },
    title === undefined ? undefined : xml("title", {}, title),
    instructions === undefined || type === "result" ? undefined : xml("instructions", {}, instructions),
    formType === undefined ? undefined : fieldElement({ name: FORM_TYPE, type: "hidden", value: formType }, type),
    ...fields.map((field) => fieldElement(field, type)),
  );
}

function fieldElement(field: FormField, formType: "form" | "result"): Element {
  const { name, type, label, description, required = false, value, options = [] } = field;
  const isForm = formType === "form";
  return xml(
    "field",
    { var: name, type, label },
    description === undefined ? undefined : xml("desc", {}, description),
    required && isForm ? xml("required") : undefined,
    ...textsOf(value, type).map((text) => xml("value", {}, text)),
    ...(isForm ? options.map((option) => xml("option", { label: option.label }, xml("value", {}, option.value))) : []),
  );
}

function textsOf(value: FormField["value"], type: FieldType): readonly string[] {
  if (value === undefined) return [];
  if (typeof value === "boolean") return [value ? "1" : "0"];
  if (typeof value !== "string") return value;
  return type === "text-multi" ? value.split("\n") : [value];
}
