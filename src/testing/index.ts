// The published test kit, `morendo/testing`: a real server in a test, scripted peers, raw clients, time and networks in
// the test's hands, and a check that nothing is left. How to use it: docs/testing.md.

export type { TlsInfo } from "../net/transport.ts";
export type { ServerStatus } from "../server/server.ts";
export type { PhaseProgress } from "../shutdown/phase-progress.ts";
export type { DrainReport } from "../shutdown/report.ts";
export type { StopRequest } from "../shutdown/types.ts";
export { MemoryStore } from "../store/memory.ts";
export type { Key, Store, Value, Write } from "../store/store.ts";
export type { Element } from "../xml/element.ts";
export {
  assertNothingLeft,
  LeakError,
  type Leftover,
  type LeftoverKind,
  type Stock,
  takeStock,
} from "./leaks/stock.ts";
export { ManualClock } from "./manual-clock.ts";
export { MemoryNetwork, type MemoryNetworkOptions } from "./memory-network.ts";
export { type LoggedLine, ModuleHost, type RecordedSession } from "./module-host.ts";
export type { Abilities, PeerConnection } from "./peer/connection.ts";
export type { SentStanza } from "./peer/outbound.ts";
export type { Seen, SeenKind } from "./peer/record.ts";
export type { Act, Custom, Rule, Script, Step } from "./peer/script.ts";
export { type Ending, RawClient, type RawClientOptions, type Received, type WaitOptions } from "./raw-client.ts";
export { type ArrivedStanza, ScriptedPeer, type ScriptedPeerOptions } from "./scripted-peer.ts";
export {
  PASSWORD,
  type ServerPorts,
  type StartServerOptions,
  startServer,
  type TestConfig,
  type TestServer,
} from "./start-server.ts";
