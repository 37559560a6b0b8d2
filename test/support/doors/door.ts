// The doors by which operators reach the server: each does an operation by its name, and says how it went in the same words.
// What an operation leads to is for the test to see in the scene.

import { readFileSync, writeFileSync } from "node:fs";
import { StanzaError } from "../../../src/stanza/stanza-error.ts";
import { parseElement } from "../../../src/testing/parse-element.ts";
import type { RawClient } from "../../../src/testing/raw-client.ts";
import { GUEST_TOKEN, type ProcessScene } from "./process-scene.ts";

/** What is asked for; the names are those of the operations and of their arguments. */
export interface Wish {
  readonly operation: string;
  readonly args?: Readonly<Record<string, string | number>>;
}

/** How it went: done, with what there was to see, or refused. */
export type Answer = { readonly done: true; readonly result: unknown } | { readonly done: false; readonly why: string };

/** A way in, for somebody with all rights or with few. */
export interface Door {
  readonly name: string;
  /** What reports call it. */
  readonly trigger: string;
  /** Why it has no way to do something, if so. */
  lacks(operation: string): string | undefined;
  ask(scene: ProcessScene, wish: Wish): Promise<Answer>;
}

/** Signals: a process can be told little by them. */
const SIGNALS: Readonly<Record<string, NodeJS.Signals>> = { stop: "SIGTERM", restart: "SIGUSR2", reload: "SIGHUP" };

export const signals: Door = {
  name: "a signal",
  trigger: "SIG",
  lacks: (operation) =>
    operation in SIGNALS
      ? undefined
      : `there is no signal for ${operation}: a signal carries no arguments and no answer`,
  async ask(scene, { operation }) {
    const { pid } = (await scene.status()) ?? {};
    const signal = SIGNALS[operation];
    if (pid === undefined || signal === undefined) return { done: false, why: "nobody to send it to" };
    process.kill(pid, signal);
    return { done: true, result: undefined };
  },
};

/** How each operation is written on the command line. */
const COMMANDS: Readonly<Record<string, (args: Readonly<Record<string, string>>) => readonly string[]>> = {
  stop: ({ delayMs, announcement }) => [
    "stop",
    ...(delayMs === undefined ? [] : ["--delay", `${delayMs}ms`]),
    ...(announcement === undefined ? [] : ["--announce", announcement]),
  ],
  cancel: () => ["cancel"],
  restart: () => ["restart"],
  suspend: ({ mode = "hold" }) => ["suspend", "--mode", mode],
  evacuate: () => ["evacuate"],
  resume: () => ["resume"],
  reload: () => ["reload"],
  announce: ({ text = "" }) => ["announce", text],
  "session.list": () => ["session", "list", "--json"],
  "user.add": ({ jid = "" }) => ["user", "add", jid, "--password-file", "password"],
  "user.passwd": ({ jid = "" }) => ["user", "passwd", jid, "--password-file", "password"],
  "user.remove": ({ jid = "" }) => ["user", "remove", jid],
};

export const commandLine: Door = {
  name: "the command line",
  trigger: "control socket",
  lacks: () => undefined,
  async ask(scene, { operation, args = {} }) {
    const texts = Object.fromEntries(Object.entries(args).map(([name, value]) => [name, String(value)]));
    if (texts.password !== undefined) writeFileSync(scene.generations.path("password"), `${texts.password}\n`);
    const { code, output } = await scene.command(...(COMMANDS[operation]?.(texts) ?? [operation]));
    if (code !== 0) return { done: false, why: output };
    return { done: true, result: operation === "session.list" ? JSON.parse(output) : output };
  },
};

/** `POST /api/OPERATION` with the token of the data folder, or with one that may do little. */
export function http(who: "operator" | "guest" | "nobody" = "operator"): Door {
  return {
    name: "HTTP",
    trigger: "HTTP",
    lacks: () => undefined,
    async ask(scene, { operation, args = {} }) {
      const base = await httpBase(scene);
      const token =
        who === "operator" ? readFileSync(scene.generations.path("data/http-token"), "utf8").trim() : GUEST_TOKEN;
      const response = await fetch(`${base}/api/${operation}`, {
        method: "POST",
        headers: {
          "Content-Type": "application/json",
          ...(who === "nobody" ? {} : { Authorization: `Bearer ${token}` }),
        },
        body: JSON.stringify(args),
      });
      const body: unknown = await response.json();
      if (!response.ok)
        return {
          done: false,
          why: `${response.status} ${(body as { readonly code?: string }).code ?? JSON.stringify(body)}`,
        };
      return outcomeOf(body);
    },
  };
}

/** What came of it: some operations answer that they could not be done. */
function outcomeOf(result: unknown): Answer {
  const { why, ...rest } = (result ?? {}) as { readonly why?: string } & Readonly<Record<string, unknown>>;
  const isRefused = ["cancelled", "resumed", "restarted", "suspended"].some((name) => rest[name] === false);
  return isRefused ? { done: false, why: why ?? "" } : { done: true, result };
}

/** Where HTTP answers. */
export async function httpBase(scene: ProcessScene): Promise<string> {
  const { listening = [] } = (await scene.status()) ?? {};
  const place = listening.find((text) => text.startsWith("http "))?.slice("http ".length);
  if (place === undefined) throw new Error(`no HTTP among ${listening.join(", ")}`);
  return `http://${place}`;
}

const ADMIN = "http://jabber.org/protocol/admin#";
const OWN = "urn:morendo:admin#";
const COMMAND_NS = "http://jabber.org/protocol/commands";

/** The node of each operation's command, and its fields. */
const AD_HOC: Readonly<
  Record<
    string,
    readonly [node: string, fields: (args: Readonly<Record<string, string>>) => Readonly<Record<string, string>>]
  >
> = {
  stop: [
    `${ADMIN}shutdown`,
    ({ delayMs = "0", announcement = "" }) => ({ delay: String(Number(delayMs) / 1_000), announcement }),
  ],
  restart: [`${ADMIN}restart`, () => ({})],
  cancel: [`${OWN}cancel`, () => ({})],
  suspend: [`${OWN}suspend`, ({ mode = "hold" }) => ({ mode })],
  evacuate: [`${OWN}evacuate`, () => ({})],
  resume: [`${OWN}resume`, () => ({})],
  reload: [`${OWN}reload`, () => ({})],
  announce: [`${ADMIN}announce`, ({ text = "" }) => ({ announcement: text })],
  "session.list": [`${ADMIN}get-online-users-list`, () => ({ max_items: "none" })],
  "user.add": [
    `${ADMIN}add-user`,
    ({ jid = "", password = "" }) => ({ accountjid: jid, password, "password-verify": password }),
  ],
  "user.passwd": [`${ADMIN}change-user-password`, ({ jid = "", password = "" }) => ({ accountjid: jid, password })],
  "user.remove": [`${ADMIN}delete-user`, ({ jid = "" }) => ({ accountjids: jid })],
};

/**
 * Ad-hoc commands of somebody who logs in for each and sends no presence. Nobody can log in while the server is evacuated: who
 * has asked for that stays.
 */
export function adHoc(username = "admin"): Door {
  let kept: RawClient | undefined;
  return {
    name: "an ad-hoc command",
    trigger: "ad-hoc command",
    lacks: () => undefined,
    async ask(scene, { operation, args = {} }) {
      const [node, fieldsOf] = AD_HOC[operation] ?? [`${OWN}${operation}`, () => ({})];
      const client = kept ?? scene.client({ username, resource: "door" });
      if (kept === undefined) await client.login();
      kept = operation === "evacuate" ? client : undefined;
      try {
        const texts = Object.fromEntries(Object.entries(args).map(([name, value]) => [name, String(value)]));
        return await runCommand(client, node, fieldsOf(texts));
      } finally {
        if (kept === undefined) client.destroy();
      }
    },
  };
}

/** Runs a command of one form to its end. */
async function runCommand(client: RawClient, node: string, fields: Readonly<Record<string, string>>): Promise<Answer> {
  const send = async (attrs: string, payload = "") => {
    const command = `<command xmlns='${COMMAND_NS}' node='${node}' ${attrs}>${payload}</command>`;
    return parseElement(await client.iq("set", command, "a.test"));
  };
  let answer = await send("action='execute'");
  const { status, sessionid = "" } = answer.getChild("command", COMMAND_NS)?.attrs ?? {};
  if (status === "executing") {
    const texts = Object.entries(fields).map(([name, value]) => `<field var='${name}'><value>${value}</value></field>`);
    const form = `<x xmlns='jabber:x:data' type='submit'>${texts.join("")}</x>`;
    answer = await send(`sessionid='${sessionid}' action='complete'`, form);
  }
  const error = StanzaError.read(answer);
  if (error !== undefined) return { done: false, why: error.condition };
  const command = answer.getChild("command", COMMAND_NS);
  const problem = command?.getChildren("note").find((note) => note.attrs.type === "error");
  if (problem !== undefined) return { done: false, why: problem.getText() };
  const values = command?.getChild("x")?.getChildren("field") ?? [];
  return { done: true, result: values.map((field) => field.getChildren("value").map((value) => value.getText())) };
}
