// Every parser that reads from the network or from a disk.

import type { Target } from "../harness/target.ts";
import { config } from "./config.ts";
import { control } from "./control.ts";
import { dns } from "./dns.ts";
import { handover } from "./handover.ts";
import { jid } from "./jid.ts";
import { forms, http } from "./operators.ts";
import { imports, records, reports } from "./records.ts";
import { certificates, sasl } from "./sasl.ts";
import { acks, journal, sessionState } from "./session-state.ts";
import { stanza } from "./stanza.ts";
import { xml } from "./xml.ts";

export const TARGETS: readonly Target[] = [
  xml,
  stanza,
  jid,
  sasl,
  certificates,
  control,
  handover,
  sessionState,
  acks,
  journal,
  records,
  reports,
  imports,
  config,
  dns,
  forms,
  http,
];
