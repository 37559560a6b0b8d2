// placeholder; completed by the stanza work
import { type Element, xml } from "../xml/element.ts";
import { NS } from "../xml/ns.ts";

export class StreamError {
  readonly condition: string;
  readonly text: string | undefined;
  constructor(condition: string, text?: string) {
    this.condition = condition;
    this.text = text;
  }
  toElement(): Element {
    return xml("stream:error", {}, xml(this.condition, { xmlns: NS.streamErrors }));
  }
}
