// Shows on this side of the control socket what happens in the life cycle of a server on the other: a picture that is
// redrawn in place on a terminal, plain lines elsewhere, one JSON object per line for machines.

import type { EventListener } from "../control/control-client.ts";
import type { LifecycleEvents } from "../shutdown/lifecycle-types.ts";
import { showProgress } from "../shutdown/progress-terminal.ts";
import { Notifier } from "../util/events.ts";
import { type Io, type Output, say } from "./io.ts";

/** For whom it is shown: `lines` are lines of JSON. */
export type Shown = "people" | "lines" | "nothing";

export interface LiveViewOptions {
  readonly io: Io;
  readonly shown: Shown;
  /** Where people see it. */
  readonly to: Output;
  /** Whether changes of the state are shown to people as well. */
  readonly showsStates?: boolean;
}

/** Something that shows events. */
export interface LiveView {
  readonly onEvent: EventListener;
  /** Shows the answer to the request as the last line, where lines are shown; tells whether it did. */
  answered(result: unknown): boolean;
}

/** The events that people see; each comes as the lifecycle on the other side told it. */
const EVENTS: readonly (keyof LifecycleEvents)[] = ["state", "phase", "progress", "report", "cancelled"];

/** Returns a view of the events of one request. */
export function liveView({ io, shown, to, showsStates = false }: LiveViewOptions): LiveView {
  const line = (event: string, data: unknown): void => say(io, JSON.stringify({ event, data }));
  if (shown !== "people") {
    return {
      onEvent: shown === "lines" ? line : () => undefined,
      answered(result) {
        if (shown === "lines") line("result", result);
        return shown === "lines";
      },
    };
  }
  const events = new Notifier<LifecycleEvents>((_, thrown) => {
    throw thrown;
  });
  showProgress({
    lifecycle: events,
    clock: io.clock,
    write: (text) => to.write(text),
    isTerminal: to.isTTY === true,
    columns: () => to.columns || 80,
    showsStates,
  });
  return {
    onEvent: (event, data) => {
      const name = EVENTS.find((known) => known === event);
      if (name === undefined) to.write(`[${String(data)}]\n`);
      else events.notify(name, data as LifecycleEvents[typeof name]);
    },
    answered: () => false,
  };
}
