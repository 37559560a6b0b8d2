// A restart as this process carries it out for whoever asks for it: which program is started, and what is tidied up behind
// a successor that failed. How it is handed over is the server's business.

import { removeUnpublished } from "../control/socket-path.ts";
import type { HandoverOutcome, SuccessorCommand } from "../handover/index.ts";
import type { Restart } from "../operations/server-port.ts";
import type { Server } from "../server/server.ts";
import { asError } from "../util/errors.ts";
import type { Logger } from "../util/log.ts";
import type { Systemd } from "./systemd.ts";

/** What a restart needs. */
export interface RestarterOptions {
  readonly server: Pick<Server, "restart">;
  /** What starts this program again, unless a request names another one. */
  readonly command: SuccessorCommand;
  /** The path of the control socket. */
  readonly controlPath: string;
  /** Resolves when the successor's control socket is there. */
  replaced(): Promise<void>;
  /** Removes what else a successor has left that was killed. Never rejects. */
  sweep(): Promise<void>;
  readonly systemd: Pick<Systemd, "whyNotRestart" | "goesOn" | "passedOn">;
  readonly log: Logger;
}

/** Returns the way to restart. */
export function restarter({ server, command, controlPath, log, systemd, replaced, sweep }: RestarterOptions): Restart {
  return async ({ program: [file, ...args] = [], ...request }) => {
    const refusal = await systemd.whyNotRestart();
    if (refusal !== undefined) {
      log.error({ trigger: request.trigger }, `no restart: ${refusal}`);
      return { ok: false, step: "refused", why: refusal, stderrTail: "" };
    }
    const outcome = await server.restart({
      ...request,
      command: file === undefined ? command : { ...command, command: file, args },
    });
    if (outcome.ok) {
      systemd.passedOn(outcome.pid);
      // Whoever asks something next is to ask the one that serves.
      await replaced();
    } else {
      systemd.goesOn(outcome.why);
      await Promise.all([tidyUp(outcome, controlPath, log), sweep()]);
    }
    return outcome;
  };
}

/** A successor that was killed had no time to remove the socket that it had ready. */
async function tidyUp({ pid }: HandoverOutcome, controlPath: string, log: Logger): Promise<void> {
  if (pid === undefined) return;
  try {
    await removeUnpublished(controlPath, pid);
  } catch (thrown) {
    log.warn({ err: asError(thrown), pid }, "what a successor that failed has left could not be removed");
  }
}
