// Runs the `morendo` command as a process of its own in a folder of its own.

import { spawn } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ServerProcess } from "../../support/child.ts";
import { MAIN, NODE } from "../../support/program.ts";

/** The command line of `morendo` without arguments. */
export const COMMAND = [...NODE, MAIN] as const;

/** What a command left. */
export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Makes a folder with a configuration that listens on free loopback ports. */
export function folderWithConfig(extra = ""): { readonly folder: string; readonly config: string } {
  const folder = mkdtempSync(join(tmpdir(), "morendo-cli-"));
  const config = join(folder, "morendo.toml");
  writeFileSync(
    config,
    `data = "data"
[c2s]
listen = ["127.0.0.1:0"]
listen_tls = ["127.0.0.1:0"]
[s2s]
listen = ["127.0.0.1:0"]
${extra}
`,
  );
  return { folder, config };
}

/** Runs a command to its end, with `input` on its standard input. */
export function morendo(folder: string, args: readonly string[], input = ""): Promise<Finished> {
  const child = spawn(COMMAND[0], [...COMMAND.slice(1), ...args], { cwd: folder, stdio: ["pipe", "pipe", "pipe"] });
  const timer = setTimeout(() => child.kill("SIGKILL"), 60_000);
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  // A command that fails early does not read its input.
  child.stdin.on("error", () => undefined);
  child.stdin.end(input);
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => {
      clearTimeout(timer);
      resolve({ code, stdout, stderr });
    });
  });
}

/** Starts a server and resolves when it says that it serves. */
export async function startServer(folder: string, args: readonly string[] = []): Promise<ServerProcess> {
  const server = new ServerProcess("morendo", folder, [...COMMAND, "start", ...args]);
  await server.until(() => server.log.includes("listening  "), "word that it listens");
  return server;
}
