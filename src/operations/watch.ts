// The operation `watch`: tells whoever asks what happens in the life cycle, until they go away or the server has stopped.

import type { Call } from "./operation.ts";
import type { ServerPort } from "./server-port.ts";

/** Emits `state` at once and at each change, and `phase`, `progress`, `cancelled` and `report` as they come. */
export function watch({ lifecycle }: Pick<ServerPort, "lifecycle">, call: Call): Promise<void> {
  return new Promise((resolve) => {
    const forgets: (() => void)[] = [];
    const end = (): void => {
      for (const forget of forgets) forget();
      resolve();
    };
    if (call.signal.aborted) return end();
    call.signal.addEventListener("abort", end, { once: true });
    forgets.push(
      () => call.signal.removeEventListener("abort", end),
      lifecycle.on("state", (change) => call.emit("state", change)),
      lifecycle.on("phase", (event) => call.emit("phase", event)),
      lifecycle.on("progress", (progress) => call.emit("progress", progress)),
      lifecycle.on("cancelled", (report) => call.emit("cancelled", report)),
      lifecycle.on("report", (report) => {
        call.emit("report", report);
        end();
      }),
    );
    const { state, request } = lifecycle;
    call.emit("state", request === undefined ? { state } : { state, request });
  });
}
