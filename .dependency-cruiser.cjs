// The layers of docs/ARCHITECTURE.md: a room imports only from rooms to its left.
const layers = ["util", "xml", "jid", "stanza", "sasl", "stream", "net", "store", "config", "server", "operations", "control", "cli"];
// Which rooms each room may import, itself included.
const allowed = {
  util: [],
  shutdown: ["util"],
  handover: ["util"],
  adapters: ["util", "shutdown"],
  xml: ["util"],
  jid: ["util"],
  stanza: ["util", "xml", "jid"],
  net: ["util"],
  store: ["util"],
  config: ["util"],
  sasl: ["util"],
  stream: ["util", "xml", "jid", "stanza", "net"],
  server: ["util", "xml", "jid", "stanza", "sasl", "stream", "net", "store", "config", "shutdown", "handover"],
  operations: ["util", "server", "shutdown", "handover", "config", "store", "jid"],
  control: ["util", "server", "operations", "shutdown", "handover", "config", "store", "jid", "net"],
  cli: [...layers, "shutdown", "handover"],
};
const rules = Object.entries(allowed).map(([room, rooms]) => ({
  name: `layer-${room}`,
  severity: "error",
  comment: `src/${room} may import only: ${[room, ...rooms].join(", ")}`,
  from: { path: `^src/${room}/` },
  to: { path: "^(src|modules)/", pathNot: `^src/(${[room, ...rooms].join("|")})/` },
}));
module.exports = {
  forbidden: [
    ...rules,
    {
      name: "modules-use-the-public-api",
      severity: "error",
      comment: "modules/ import only src/module.ts and the xml, jid and stanza builders",
      from: { path: "^modules/([^/]+)/" },
      to: { path: "^(src|modules)/", pathNot: "^(src/module\\.ts$|src/(xml|jid|stanza)/|modules/$1/)" },
    },
    { name: "only-element-imports-ltx", severity: "error", from: { path: "^(src|modules)/", pathNot: "^src/xml/element\\.ts$" }, to: { path: "node_modules/ltx" } },
    { name: "no-cycles", severity: "error", from: { path: "^(src|modules)" }, to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } } },
    {
      name: "the-test-kit-is-for-tests",
      severity: "error",
      comment: "src/testing may import everything in src; nothing else in src or modules may import src/testing",
      from: { path: "^(src|modules)/", pathNot: "^src/testing/" },
      to: { path: "^src/testing/" },
    },
    { name: "no-tests-in-source", severity: "error", from: { path: "^(src|modules)/" }, to: { path: "^test/" } },
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    doNotFollow: { path: "node_modules" },
    enhancedResolveOptions: { extensions: [".ts", ".js"], exportsFields: ["exports"], conditionNames: ["import", "node"] },
  },
};
