// A small server for the handover tests. It answers each connection with one line, `generation pid count`, where the count
// goes on across restarts, and hands itself over on SIGUSR2. What goes wrong, and where, is said as `kind@place`. It prints
// what happens to it, one line each; all generations write to the same output. None outlives its test by much.

import { spawnSync } from "node:child_process";
import { writeSync } from "node:fs";
import {
  activatedListeners,
  Handover,
  type HandoverLimits,
  type Inheritance,
  inheritance,
  keptSpawn,
  type Logger,
  type PassedListener,
  sameCommand,
  silentLog,
  systemClock,
} from "../../src/handover/index.ts";
import { InheritedListeners } from "../../src/net/inherited.ts";
import { TcpNetwork } from "../../src/net/tcp.ts";
import type { Accepted, Listener } from "../../src/net/transport.ts";

/** Set by the test that starts the first generation. */
interface Settings {
  /** `host:port` of each listener. */
  readonly listen: readonly string[];
  readonly limits?: Partial<HandoverLimits>;
  /** How many items of state there are, and how large each is. */
  readonly items?: number;
  readonly itemBytes?: number;
  /** What goes wrong in the successor of the first restart, of the second, …, such as `crash@hello`. */
  readonly successorFaults?: readonly string[];
  /** What goes wrong in the first generation. */
  readonly predecessorFault?: string;
  /** The program that a successor is, if not the same. */
  readonly successorArgs?: readonly string[];
  /** Lists what a process that a successor starts has open, and its environment. */
  readonly looksAtGrandchild?: boolean;
}

const settings = JSON.parse(process.env.HANDOVER_TEST ?? "{}") as Settings;
const log: Logger = silentLog;
const inherited = inheritance({ environment: process.env, clock: systemClock });
const spawn = keptSpawn(process.env, process);
const generation = Number(process.env.GENERATION ?? "1");
const fault = generation === 1 ? settings.predecessorFault : process.env.HANDOVER_FAULT;

function say(text: string): void {
  writeSync(1, `g${generation} ${process.pid} ${text}\n`);
}

/** Does what the fault says when this is its place. */
async function at(place: string): Promise<void> {
  if (fault === undefined || !fault.endsWith(`@${place}`)) return;
  const kind = fault.slice(0, fault.indexOf("@"));
  say(`fault ${fault}`);
  if (kind === "crash") throw new Error(`crashed at ${place}`);
  if (kind === "exit") process.exit(7);
  if (kind === "kill") process.kill(process.pid, "SIGKILL");
  if (kind === "slow") await systemClock.sleep(500);
  if (kind === "kill-soon") systemClock.setTimer(150, () => process.kill(process.pid, "SIGKILL"));
  if (kind === "hang") await systemClock.sleep(600_000);
}

let served = 0;
let isOpen = false;
let waiting: Accepted[] = [];

function answer({ transport }: Accepted): void {
  served++;
  let text = "";
  transport.setReader({
    onData: (chunk) => {
      text += chunk.toString();
      if (!text.endsWith("\n")) return;
      transport.write(`${generation} ${process.pid} ${served} ${text}`);
      transport.end();
    },
    onEnd: () => transport.end(),
    onDrain: () => undefined,
    onClose: () => undefined,
  });
  transport.write("hello\n");
}

function onConnection(accepted: Accepted): void {
  if (isOpen) answer(accepted);
  else waiting.push(accepted);
}

function open(): void {
  isOpen = true;
  for (const accepted of waiting) answer(accepted);
  waiting = [];
}

if (settings.looksAtGrandchild === true) {
  const open = spawnSync("ls", ["/proc/self/fd"], { encoding: "utf8" }).stdout.trim().split("\n");
  const environment = spawnSync("env", { encoding: "utf8" }).stdout;
  say(`grandchild ${open.join(",")} ${/MORENDO_HANDOVER|data:text/.test(environment) ? "told" : "not told"}`);
}

const passed: readonly PassedListener[] = inherited?.listeners ?? activatedListeners(process.env, process.pid);
const inheritedListeners = new InheritedListeners(passed);
const network = new TcpNetwork({ clock: systemClock, log, inherited: inheritedListeners });
const listeners: Listener[] = [];

async function listen(): Promise<void> {
  for (const [index, address] of settings.listen.entries()) {
    const cut = address.lastIndexOf(":");
    const options = { host: address.slice(0, cut), port: Number(address.slice(cut + 1)), purpose: `l${index}` };
    listeners.push(await network.listen(options, onConnection));
  }
  const unclaimed = await inheritedListeners.closeUnclaimed();
  if (unclaimed.length > 0) say(`unclaimed ${unclaimed.join(", ")}`);
}

async function takeOver(from: Inheritance): Promise<void> {
  await at("hello");
  const state = await from.receiveState({
    count: { versions: fault === "refuse@state" ? [9] : [1, 2], required: true, read: Number },
    items: {
      versions: [1],
      read: (value) => {
        if (fault === "invalid@state") throw new Error("this item is rotten");
        return String(value).length;
      },
    },
  });
  if (state.complete) served = state.sections.count?.items[0] ?? 0;
  say(`state ${state.complete ? `complete ${state.sections.items?.items.length ?? 0}` : "incomplete"}`);
  await at("state");
  say(`prepared ${await from.prepared()}`);
  await at("prepared");
  await listen();
  await at("listening");
  say(`serving ${await from.serving()}`);
  open();
}

const handover = new Handover({
  clock: systemClock,
  log,
  ...(settings.limits === undefined ? {} : { limits: settings.limits }),
  ...(spawn === undefined ? {} : { spawn }),
});

function* items(): Iterable<string> {
  const text = "x".repeat(settings.itemBytes ?? 10);
  const total = settings.items ?? 0;
  for (let index = 0; index < total; index++) {
    if (index * 2 === total && fault === "kill@items") process.kill(process.pid, "SIGKILL");
    yield text;
  }
}

let restarts = 0;

async function restart(): Promise<void> {
  const { args, env, ...command } = sameCommand(process);
  const outcome = await handover.run({
    command: {
      ...command,
      args: settings.successorArgs ?? args,
      env: {
        ...env,
        GENERATION: String(generation + 1),
        HANDOVER_FAULT: generation === 1 ? settings.successorFaults?.[restarts++] : undefined,
      },
    },
    listeners: listeners.flatMap(({ passable }) =>
      passable?.fd === undefined ? [] : [{ name: passable.name, fd: passable.fd, handle: passable.handle }],
    ),
    offers: [
      { name: "count", versions: [1, 2], required: true },
      { name: "items", versions: [1], required: false },
      { name: "nobody's", versions: [1], required: false },
    ],
    freeze: async (versions) => {
      say(`freeze ${[...versions.keys()].join(",")}`);
      isOpen = false;
      await at("freeze");
      return [
        { name: "items", items: items() },
        { name: "count", items: [served] },
      ];
    },
    thaw: () => {
      say("thaw");
      open();
    },
    onStep: (step) => {
      say(`step ${step}`);
      if (fault?.endsWith(`@step-${step}`) === true) void at(`step-${step}`);
    },
  });
  say(`outcome ${JSON.stringify(outcome)}`);
  if (!outcome.ok) return;
  for (const { passable } of listeners) passable?.release();
  open();
}

process.on("SIGTERM", () => {
  say("SIGTERM");
  process.exit(5);
});
process.on("SIGUSR2", () => void restart());
setTimeout(() => process.exit(99), 120_000).unref();

if (inherited === undefined) {
  await listen();
  open();
} else {
  await takeOver(inherited).catch(async (thrown: unknown) => {
    await inherited.failed(thrown);
    throw thrown;
  });
}
say(`ready ${listeners.map(({ host, port }) => `${host}:${port}`).join(" ")}`);
