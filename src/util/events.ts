// Typed notifications on eventemitter3. For telling that something happened; work that must be ordered, awaited or
// answered goes through hooks.ts. A listener that throws must not stop the emitter's owner, so `notify` isolates it.

import { EventEmitter } from "eventemitter3";

/** Told of a listener that threw: the event's name and what was thrown. */
export type ListenerFailed = (event: string, thrown: unknown) => void;

/** An emitter of events with one payload each, whose listeners cannot harm it or each other. */
export class Notifier<Events extends object> {
  #emitter = new EventEmitter<string>();
  #failed: ListenerFailed;

  constructor(failed: ListenerFailed) {
    this.#failed = failed;
  }

  /** Calls `listener` at each `event` from now on; the returned function stops that. */
  on<Name extends keyof Events & string>(event: Name, listener: (payload: Events[Name]) => void): () => void {
    const guarded = (payload: Events[Name]): void => {
      try {
        listener(payload);
      } catch (thrown) {
        this.#failed(event, thrown);
      }
    };
    this.#emitter.on(event, guarded);
    return () => {
      this.#emitter.off(event, guarded);
    };
  }

  /** Calls every listener of `event`, in the order in which they came. */
  notify<Name extends keyof Events & string>(event: Name, payload: Events[Name]): void {
    this.#emitter.emit(event, payload);
  }

  /** Returns how many listeners `event` has, or all events together. */
  count(event?: keyof Events & string): number {
    if (event !== undefined) return this.#emitter.listenerCount(event);
    return this.#emitter.eventNames().reduce((sum, name) => sum + this.#emitter.listenerCount(name), 0);
  }
}
