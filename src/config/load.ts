// Reads the configuration: the TOML file, then the environment on top, then the schema's checks. Reports every problem
// at once, each with its place, what was expected and what was found. Options: schema.ts.

import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parse, TomlError } from "smol-toml";
import type { z } from "zod";
import { asError, codeOf, MorendoError } from "../util/errors.ts";
import { readEnvironment, withValue } from "./environment.ts";
import { type LineOf, lineFinder } from "./lines.ts";
import { closest, formatPath, namesAt } from "./options.ts";
import { type Config, configSchema } from "./schema.ts";

/** One thing that is wrong with the configuration. */
export interface Problem {
  /** The file, with its line where known, or the environment variable; undefined when it is only a default. */
  readonly place: string | undefined;
  /** The option, such as `c2s.listen[0]`; undefined when the file as a whole is meant. */
  readonly option: string | undefined;
  /** What was expected and what was received instead. */
  readonly message: string;
}

/** A configuration that cannot be used, with everything that is wrong with it. */
export class ConfigError extends MorendoError {
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super("MORENDO_CONFIG_INVALID", problems.map(formatProblem).join("\n"));
    this.name = "ConfigError";
    this.problems = problems;
  }
}

/** Where a server is to be found. */
export type Whereabouts = Pick<Config, "data" | "control">;

/** Where to read from. */
export interface ConfigSource {
  /** The TOML file; without one there are defaults and the environment. */
  readonly file: string | undefined;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** What paths are relative to when there is no file. */
  readonly directory: string;
}

/**
 * Returns the checked configuration with its paths made absolute: they are relative to the file's folder, or to
 * `directory` without a file. Reads the file synchronously. Throws a ConfigError that lists all problems.
 */
export function loadConfig(source: ConfigSource): Config {
  const text = source.file === undefined ? "" : readText(source.file);
  let raw: unknown = parseToml(text, source.file);
  const overrides = readEnvironment(source.environment);
  for (const { path, value } of overrides.values) raw = withValue(raw, path, value);

  const result = configSchema.safeParse(raw);
  const lineOf = lineFinder(text);
  const problems: Problem[] = overrides.unknown.map(({ variable, hint }) => ({
    place: variable,
    option: undefined,
    message: `expected the name of an option${hint === undefined ? "" : `; did you mean ${hint}?`}`,
  }));
  for (const issue of result.error?.issues ?? []) {
    for (const { path, message } of describe(issue, raw)) {
      const variable = overrides.values.findLast((override) => isInside(path, override.path))?.variable;
      const place = variable ?? placeInFile(source.file, lineOf, path);
      problems.push({ place, option: formatPath(path), message });
    }
  }
  if (problems.length > 0 || result.data === undefined) throw new ConfigError(problems);
  return withAbsolutePaths(result.data, source.file === undefined ? source.directory : dirname(resolve(source.file)));
}

/**
 * Returns only where the server keeps its data and listens for commands, whatever is wrong with other options: one that runs
 * has read them when they were good. Undefined when these are wrong as well, or the file cannot be read at all.
 */
export function loadWhereabouts({ file, environment, directory }: ConfigSource): Whereabouts | undefined {
  try {
    let raw: unknown = file === undefined ? {} : parseToml(readText(file), file);
    for (const { path, value } of readEnvironment(environment).values) {
      if (path[0] === "data" || path[0] === "control") raw = withValue(raw, path, value);
    }
    const only = { data: valueAt(raw, ["data"]), control: valueAt(raw, ["control"]) };
    const config = configSchema.safeParse(only).data;
    if (config === undefined) return undefined;
    return withAbsolutePaths(config, file === undefined ? directory : dirname(resolve(file)));
  } catch (thrown) {
    if (thrown instanceof ConfigError) return undefined;
    throw thrown;
  }
}

function formatProblem({ place, option, message }: Problem): string {
  return [place, option, message].filter((part) => part !== undefined).join(": ");
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (thrown) {
    const reason = codeOf(thrown) === "ENOENT" ? "there is no such file" : asError(thrown).message;
    throw new ConfigError([{ place: file, option: undefined, message: `cannot be read: ${reason}` }]);
  }
}

function parseToml(text: string, file: string | undefined): unknown {
  try {
    return parse(text);
  } catch (thrown) {
    if (!(thrown instanceof TomlError)) throw thrown;
    const message = thrown.message.split("\n")[0]?.replace("Invalid TOML document: ", "") ?? "";
    const place = `${file}:${thrown.line}:${thrown.column}`;
    throw new ConfigError([{ place, option: undefined, message: `not valid TOML: ${message}` }]);
  }
}

function placeInFile(file: string | undefined, lineOf: LineOf, path: readonly PropertyKey[]): string | undefined {
  const line = lineOf(path);
  return file === undefined || line === undefined ? file : `${file}:${line}`;
}

function isInside(path: readonly PropertyKey[], outer: readonly string[]): boolean {
  return outer.every((part, index) => path[index] === part);
}

/** Says what an issue means to the person who wrote the file; unknown names become one message each. */
function describe(issue: z.core.$ZodIssue, raw: unknown): readonly { path: readonly PropertyKey[]; message: string }[] {
  if (issue.code === "unrecognized_keys") {
    const names = namesAt(issue.path);
    return issue.keys.map((key) => ({ path: [...issue.path, key], message: unknownName(key, names) }));
  }
  return [
    { path: issue.path, message: `expected ${expectation(issue)}, received ${received(valueAt(raw, issue.path))}` },
  ];
}

function unknownName(key: string, names: readonly string[]): string {
  const near = closest(key, names);
  const hint = near === undefined ? `the options here are ${names.join(", ")}` : `did you mean ${near}?`;
  return `there is no such option; ${hint}`;
}

function expectation(issue: z.core.$ZodIssue): string {
  if (issue.code === "invalid_value") return `one of ${issue.values.map((value) => JSON.stringify(value)).join(", ")}`;
  // Where the schema says nothing of its own, zod's sentence begins like this.
  if (issue.code === "invalid_type" && issue.message.startsWith("Invalid input")) {
    return issue.expected === "object" || issue.expected === "record" ? "a table" : `a ${issue.expected}`;
  }
  return issue.message;
}

function valueAt(raw: unknown, path: readonly PropertyKey[]): unknown {
  let value = raw;
  for (const part of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[part];
  }
  return value;
}

const SHOWN_LENGTH = 60;

function received(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = JSON.stringify(value);
  return text.length > SHOWN_LENGTH ? `${text.slice(0, SHOWN_LENGTH)}…` : text;
}

function withAbsolutePaths(config: Config, directory: string): Config {
  const absolute = (path: string): string => resolve(directory, path);
  const data = absolute(config.data);
  return {
    ...config,
    data,
    hosts: config.hosts.map((host) => ({
      ...host,
      ...(host.certificate === undefined ? {} : { certificate: absolute(host.certificate) }),
      ...(host.key === undefined ? {} : { key: absolute(host.key) }),
    })),
    s2s: { ...config.s2s, trusted_roots: config.s2s.trusted_roots.map(absolute) },
    log: { ...config.log, ...(config.log.file === undefined ? {} : { file: absolute(config.log.file) }) },
    http: {
      ...config.http,
      tokens: config.http.tokens.map(({ token_file: file, ...token }) => ({
        ...token,
        ...(file === undefined ? {} : { token_file: absolute(file) }),
      })),
    },
    control: { socket: config.control.socket === "" ? resolve(data, "control.sock") : absolute(config.control.socket) },
  };
}
