// Writes docs/CATALOGUE.md, what a module may hook, hear and call, from the code and its comments, so that the page cannot
// say anything else than the code. `--check` writes nothing and fails when the page differs. An entry without a comment is
// an error: whoever adds a hook has to say what it is for. `make docs` runs it.

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import ts from "typescript";
import { OPTIONAL_PHASES, PHASES, type PhaseName, POINT_OF_NO_RETURN } from "../src/server/phases.ts";
import { asError } from "../src/util/errors.ts";

/** Reads a file by its path from the top of the repository. */
export type ReadSource = (file: string) => string;

const PAGE = "docs/CATALOGUE.md";

/** Where the types of the module API are declared, in the order in which those not told elsewhere are listed. */
const SOURCES = [
  "src/module.ts",
  "src/server/catalogue.ts",
  "src/server/phases.ts",
  "src/server/module-api.ts",
  "src/server/ad-hoc-command.ts",
  "src/shutdown/types.ts",
  "src/shutdown/suspend-types.ts",
  "src/shutdown/report.ts",
  "src/shutdown/obligations.ts",
  "src/shutdown/exit-codes.ts",
  "src/server/session.ts",
  "src/server/rosters.ts",
  "src/server/teller.ts",
  "src/server/text-template.ts",
  "src/store/store.ts",
  "src/util/hooks.ts",
  "src/util/clock.ts",
  "src/util/log.ts",
  "src/util/random.ts",
  "src/stanza/stanza.ts",
  "src/stanza/stanza-error.ts",
  "src/stanza/element-tree.ts",
  "src/stanza/data-form.ts",
  "src/jid/jid.ts",
  "src/xml/element.ts",
  "src/xml/ltx.d.ts",
];

/** What has a chapter of its own. */
const CHAPTERS = ["ModuleDefinition", "ModuleApi", "PhaseOptions", "PhaseContext", "ServerStopping", "ModuleStorage"];

/** What is told of as chapters are, entry by entry. */
const TOLD = ["HookCatalogue", "NotificationCatalogue", "PhaseName"];

type TypeDeclaration = ts.InterfaceDeclaration | ts.TypeAliasDeclaration | ts.ClassDeclaration;

/** Returns the page. Throws an error that names every entry without a comment. */
export function catalogue(read: ReadSource): string {
  return new Catalogue(read).page();
}

class Catalogue {
  #types = new Map<string, TypeDeclaration>();
  #functions = new Map<string, ts.FunctionDeclaration>();
  #constants = new Map<string, ts.Expression>();
  /** What `src/module.ts` exports by name. */
  #exports = new Set<string>();
  #undocumented: string[] = [];
  /** The types that the page has spoken of, in the order in which they came up. */
  #mentioned = new Set<string>();
  /** The types told of where they are used. */
  #inPlace = new Set<string>();

  constructor(read: ReadSource) {
    for (const file of SOURCES) {
      const source = ts.createSourceFile(file, read(file), ts.ScriptTarget.Latest, true);
      for (const statement of source.statements) this.#note(statement);
    }
  }

  page(): string {
    const parts = [
      [
        "# Hooks, notifications, phases and the module API",
        "",
        "<!-- Written by `make docs` from the comments in src/. What is changed here is lost. -->",
        "",
        "Everything a module can hook into, be told of and call. [modules.md](modules.md) is the guide that leads there;",
        "the types come from `morendo/module`.",
        "",
        "- [Hooks](#hooks): questions that modules answer",
        "- [Notifications](#notifications): what modules are told in passing",
        "- [Phases](#phases): the steps of a shutdown, in their order",
        ...CHAPTERS.map((name) => `- [${name}](#${name.toLowerCase()}): ${firstSentence(this.#docOfType(name))}`),
        "- [Functions](#functions): what `morendo/module` exports beside types and classes",
        "- [Types](#types): all others",
      ].join("\n"),
      this.#entries("Hooks", "HookCatalogue"),
      this.#entries("Notifications", "NotificationCatalogue"),
      this.#phaseChapter(),
      ...CHAPTERS.map((name) => this.#chapter(name)),
      this.#functionChapter(),
      this.#otherTypes(),
    ];
    if (this.#undocumented.length > 0) {
      throw new Error(`there is no comment that says what these are:\n  ${this.#undocumented.join("\n  ")}`);
    }
    return `${parts.join("\n\n")}\n`;
  }

  #note(statement: ts.Statement): void {
    if (
      ts.isInterfaceDeclaration(statement) ||
      ts.isTypeAliasDeclaration(statement) ||
      (ts.isClassDeclaration(statement) && statement.name !== undefined)
    ) {
      const name = statement.name?.text ?? "";
      if (!this.#types.has(name)) this.#types.set(name, statement);
      return;
    }
    if (ts.isFunctionDeclaration(statement)) this.#functions.set(statement.name?.text ?? "", statement);
    if (ts.isModuleDeclaration(statement) && statement.body !== undefined && ts.isModuleBlock(statement.body)) {
      for (const inner of statement.body.statements) this.#note(inner);
    }
    if (ts.isExportDeclaration(statement) && statement.getSourceFile().fileName === SOURCES[0]) {
      const { exportClause } = statement;
      if (exportClause === undefined || !ts.isNamedExports(exportClause)) return;
      for (const { name } of exportClause.elements) this.#exports.add(name.text);
    }
    if (!ts.isVariableStatement(statement)) return;
    for (const { name, initializer } of statement.declarationList.declarations) {
      if (initializer !== undefined) this.#constants.set(name.getText(), plainExpression(initializer));
    }
  }

  /** A chapter with one entry for each member of a catalogue. */
  #entries(title: string, name: string): string {
    const declaration = this.#interface(name);
    const parts = [`## ${title}`, this.#doc(declaration, name)];
    for (const member of declaration.members) {
      const names = namesOf(member);
      const label = names.map((text) => `\`${text}\``).join(", ");
      parts.push(`### ${label}`, this.#doc(member, `${name} ${names.join(", ")}`));
      const type = ts.isPropertySignature(member) || ts.isIndexSignatureDeclaration(member) ? member.type : undefined;
      if (type === undefined) throw new Error(`${label} has no type`);
      if (ts.isTypeLiteralNode(type)) {
        for (const part of type.members) {
          if (ts.isPropertySignature(part) && part.type !== undefined) {
            parts.push(this.#carried(part.name.getText(), part.type));
          }
        }
      } else parts.push(this.#carried("payload", type));
    }
    return parts.join("\n\n");
  }

  /** What an entry hands over, or what it wants back: its type, and the type's fields where it has some. */
  #carried(what: string, type: ts.TypeNode): string {
    const text = type.getText();
    if (text === "never") return `**${what}**: none`;
    if (text === "undefined") return `**${what}**: nothing`;
    const declaration = this.#types.get(text);
    if (declaration === undefined) return `**${what}**: ${code(text)}`;
    this.#mention(type);
    if (ts.isInterfaceDeclaration(declaration) && !CHAPTERS.includes(text) && isPlain(declaration)) {
      this.#inPlace.add(text);
      return `**${what}**: \`${text}\`. ${this.#doc(declaration, text)}\n\n${this.#fields(declaration)}`;
    }
    if (ts.isTypeAliasDeclaration(declaration)) {
      this.#inPlace.add(text);
      this.#mention(declaration.type);
      return `**${what}**: ${code(flat(declaration.type.getText()))}. ${this.#doc(declaration, text)}`;
    }
    return `**${what}**: ${this.#link(text)}`;
  }

  #phaseChapter(): string {
    const list = this.#constants.get("PHASES");
    if (list === undefined || !ts.isArrayLiteralExpression(list))
      throw new Error("PHASES was not found in src/server/phases.ts");
    const parts = [
      "## Phases",
      "A shutdown runs these phases in this order. A module takes part in one with `api.phase`, `before`, `during` or" +
        " `after` the phase's own work; those of one group run together. Time that a phase does not use flows on to" +
        ` the next. Until \`${POINT_OF_NO_RETURN}\` begins the run can be cancelled: then every participant that had` +
        " begun and has a `cancelled` is called.",
    ];
    const pointOfNoReturn = PHASES.indexOf(POINT_OF_NO_RETURN);
    for (const element of list.elements) {
      if (!ts.isStringLiteral(element)) throw new Error(`PHASES holds something else than texts: ${element.getText()}`);
      const name = element.text as PhaseName;
      const isBefore = PHASES.indexOf(name) < pointOfNoReturn;
      const marks = [
        ...(OPTIONAL_PHASES.includes(name) ? ["only when asked for"] : []),
        isBefore ? "can be cancelled" : "past the point of no return",
      ];
      parts.push(`### \`${name}\` (${marks.join("; ")})`, this.#doc(element, `phase ${name}`));
    }
    return parts.join("\n\n");
  }

  #chapter(name: string): string {
    const declaration = this.#types.get(name);
    if (declaration === undefined) throw new Error(`${name} is not declared`);
    return `## ${name}\n\n${this.#described(declaration, name, true)}`;
  }

  #functionChapter(): string {
    const parts = [
      "## Functions",
      "Beside these there are `NS`, the XML namespaces by name, and `z`, the whole of [zod](https://zod.dev).",
    ];
    for (const [name, declaration] of this.#functions) {
      if (declaration.getSourceFile().fileName !== SOURCES[0] && !this.#exports.has(name)) continue;
      this.#mention(declaration);
      parts.push(
        `### ${name}`,
        code(signatureOf(declaration).replace("export function ", "")),
        this.#doc(declaration, name),
      );
    }
    return parts.join("\n\n");
  }

  #otherTypes(): string {
    const parts = ["## Types"];
    const told = new Set([...CHAPTERS, ...TOLD, ...this.#inPlace]);
    for (const name of this.#exports) this.#mentioned.add(name);
    // A type's own members mention others while the loop runs.
    for (const name of this.#mentioned) {
      const declaration = this.#types.get(name);
      if (declaration === undefined || told.has(name)) continue;
      told.add(name);
      parts.push(`### ${name}`, this.#described(declaration, name, false));
    }
    return parts.join("\n\n");
  }

  /** A type as a whole. With `strict` each of its members needs a comment. */
  #described(declaration: TypeDeclaration, name: string, strict: boolean): string {
    const doc = strict ? this.#doc(declaration, name) : docOf(declaration);
    if (ts.isTypeAliasDeclaration(declaration)) {
      this.#mention(declaration.type);
      return [code(this.#spelledOut(declaration.type)), doc].filter((text) => text !== "").join("\n\n");
    }
    const members = [...declaration.members].filter((member) => isPublic(member));
    const isTable = !strict && members.every((member) => ts.isPropertySignature(member));
    if (isTable && ts.isInterfaceDeclaration(declaration)) {
      return [doc, this.#fields(declaration)].filter((text) => text !== "").join("\n\n");
    }
    const lines = members.map((member) => {
      this.#mention(member);
      const text = strict ? this.#doc(member, `${name}.${memberName(member)}`) : docOf(member);
      return `- ${code(signatureOf(member))}${text === "" ? "" : `  \n${indented(text)}`}`;
    });
    return [doc, lines.join("\n")].filter((text) => text !== "").join("\n\n");
  }

  /** A type as text; the keys of a constant are listed. */
  #spelledOut(type: ts.TypeNode): string {
    const text = flat(type.getText());
    const constant = this.#constants.get(/^keyof typeof (\w+)$/.exec(text)?.[1] ?? "");
    if (constant === undefined || !ts.isObjectLiteralExpression(constant)) return text;
    return constant.properties.map(({ name }) => `"${name?.getText().replaceAll('"', "")}"`).join(" | ");
  }

  /** The fields of a payload as a table. */
  #fields(declaration: ts.InterfaceDeclaration): string {
    const rows = declaration.members.map((member) => {
      this.#mention(member);
      const type = ts.isPropertySignature(member) ? member.type?.getText() : signatureOf(member);
      const optional = ts.isPropertySignature(member) && member.questionToken !== undefined ? "?" : "";
      return `| \`${memberName(member)}${optional}\` | ${cell(code(flat(type ?? "")))} | ${cell(docOf(member))} |`;
    });
    const bases =
      declaration.heritageClauses?.flatMap(({ types }) => types.map((type) => type.expression.getText())) ?? [];
    for (const base of bases) this.#mentioned.add(base);
    const inherited =
      bases.length === 0 ? "" : `\n\nand the fields of ${bases.map((base) => this.#link(base)).join(", ")}`;
    return `${["| field | type | |", "|---|---|---|", ...rows].join("\n")}${inherited}`;
  }

  /** Remembers the types that `node` names, so that they are told of. */
  #mention(node: ts.Node): void {
    if (ts.isTypeReferenceNode(node) && this.#types.has(node.typeName.getText())) {
      this.#mentioned.add(node.typeName.getText());
    }
    if (ts.isBlock(node)) return;
    ts.forEachChild(node, (child) => this.#mention(child));
  }

  #link(name: string): string {
    return `[\`${name}\`](#${name.toLowerCase()})`;
  }

  #interface(name: string): ts.InterfaceDeclaration {
    const declaration = this.#types.get(name);
    if (declaration === undefined || !ts.isInterfaceDeclaration(declaration)) {
      throw new Error(`the interface ${name} was not found`);
    }
    return declaration;
  }

  #docOfType(name: string): string {
    const declaration = this.#types.get(name);
    return declaration === undefined ? "" : docOf(declaration);
  }

  #doc(node: ts.Node, name: string): string {
    const text = docOf(node);
    if (text === "") {
      const source = node.getSourceFile();
      const { line } = source.getLineAndCharacterOfPosition(node.getStart());
      this.#undocumented.push(`${name} (${source.fileName}:${line + 1})`);
    }
    return text;
  }
}

/** The text of the comment before `node`; empty when there is none. */
function docOf(node: ts.Node): string {
  const text = node.getSourceFile().text;
  const ranges = ts.getLeadingCommentRanges(text, node.getFullStart()) ?? [];
  const comments = ranges.map(({ pos, end }) => text.slice(pos, end));
  const comment = comments.findLast((one) => one.startsWith("/**"));
  if (comment === undefined) return "";
  const lines = comment.slice(3, -2).split("\n");
  return lines
    .map((line) => line.replace(/^\s*\*? ?/, "").trimEnd())
    .join("\n")
    .trim();
}

/** The names of a catalogue entry; a template such as `iq/get/${string}` is written with a word in its place. */
function namesOf(member: ts.TypeElement): string[] {
  if (!ts.isIndexSignatureDeclaration(member)) return [memberName(member)];
  const type = member.parameters[0]?.type?.getText() ?? "";
  // biome-ignore lint/suspicious/noTemplateCurlyInString: it is what stands in the source
  return type.split("|").map((text) => text.trim().replaceAll("`", "").replace("${string}", "NAMESPACE"));
}

function memberName(member: ts.TypeElement | ts.ClassElement): string {
  const { name } = member;
  if (name === undefined) return ts.isConstructorDeclaration(member) ? "constructor" : member.getText();
  return ts.isStringLiteral(name) ? name.text : name.getText();
}

/** A member as it is declared, without a body, on one line. */
function signatureOf(member: ts.TypeElement | ts.ClassElement | ts.FunctionDeclaration): string {
  const body = "body" in member ? (member.body as ts.Node | undefined) : undefined;
  const end = body === undefined ? member.getEnd() : body.getFullStart();
  const text = member.getSourceFile().text.slice(member.getStart(), end);
  return flat(text.replace(/[;,]\s*$/, ""));
}

/** Without `as const` and the like. */
function plainExpression(expression: ts.Expression): ts.Expression {
  if (ts.isAsExpression(expression) || ts.isSatisfiesExpression(expression))
    return plainExpression(expression.expression);
  return expression;
}

/** Without what only the class itself can reach, and what has a symbol in place of a name. */
function isPublic(member: ts.TypeElement | ts.ClassElement): boolean {
  if (member.name !== undefined && (ts.isPrivateIdentifier(member.name) || ts.isComputedPropertyName(member.name))) {
    return false;
  }
  const modifiers = ts.canHaveModifiers(member) ? (ts.getModifiers(member) ?? []) : [];
  return modifiers.every(({ kind }) => kind !== ts.SyntaxKind.PrivateKeyword);
}

/** Whether an interface only carries values. */
function isPlain(declaration: ts.InterfaceDeclaration): boolean {
  return declaration.members.every((member) => ts.isPropertySignature(member));
}

function flat(text: string): string {
  return text
    .replaceAll(/\s+/g, " ")
    .replace(/^\| /, "")
    .replaceAll(/([(<]) /g, "$1")
    .replaceAll(/,? ([)>])(?!=)/g, (whole, close: string) => (whole.startsWith(",") || close === ")" ? close : whole))
    .trim();
}

function code(text: string): string {
  return text.includes("`") ? `\`\` ${text} \`\`` : `\`${text}\``;
}

function cell(text: string): string {
  return text.replaceAll("\n", " ").replaceAll("|", "\\|");
}

function indented(text: string): string {
  return text.replaceAll(/^/gm, "  ");
}

function firstSentence(text: string): string {
  return text.replaceAll("\n", " ").split(/[.:;]( |$)/, 1)[0] ?? "";
}

function main(args: readonly string[]): number {
  const root = new URL("../", import.meta.url);
  const read: ReadSource = (file) => readFileSync(new URL(file, root), "utf8");
  const page = new URL(PAGE, root);
  try {
    const text = catalogue(read);
    if (!args.includes("--check")) writeFileSync(page, text);
    else if (text !== read(PAGE)) throw new Error(`${PAGE} says something else than the code: run \`make docs\``);
    return 0;
  } catch (thrown) {
    process.stderr.write(`${fileURLToPath(import.meta.url)}: ${asError(thrown).message}\n`);
    return 1;
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  process.exitCode = main(process.argv.slice(2));
}
