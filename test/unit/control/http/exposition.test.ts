import assert from "node:assert/strict";
import fc from "fast-check";
import { expose, type Family, negotiate } from "../../../../src/control/http/exposition.ts";
import { LoopLag } from "../../../../src/control/http/loop-lag.ts";
import { ManualClock } from "../../../../src/testing/manual-clock.ts";
import { readOpenMetrics, readPrometheus } from "../../../support/metrics.ts";

const families: readonly Family[] = [
  { name: "a_build", type: "info", help: "What.", samples: [{ labels: { version: "1" }, value: 1 }] },
  { name: "a_stanzas", type: "counter", help: "How many.", samples: [{ labels: { kind: "iq" }, value: 3 }] },
  {
    name: "a_state",
    type: "stateset",
    help: "Where.",
    samples: [
      { labels: { a_state: "on" }, value: 1 },
      { labels: { a_state: "off" }, value: 0 },
    ],
  },
];

describe("the text of metrics", () => {
  it("is OpenMetrics, with an end", () => {
    const read = readOpenMetrics(expose(families, "openmetrics"));
    assert.deepEqual([...read.keys()], ["a_build", "a_stanzas", "a_state"]);
    assert.deepEqual(read.get("a_stanzas")?.readings, [{ name: "a_stanzas_total", labels: { kind: "iq" }, value: 3 }]);
    assert.equal(read.get("a_build")?.readings[0]?.name, "a_build_info");
  });

  it("is Prometheus' older format where that is wanted, without types it does not know", () => {
    const read = readPrometheus(expose(families, "prometheus"));
    assert.equal(read.get("a_stanzas_total")?.type, "counter");
    assert.equal(read.get("a_build_info")?.type, "gauge");
    assert.equal(read.get("a_state")?.type, "gauge");
  });

  it("carries any label and any help, whatever is in it", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.string(), (label, help) => {
        // A line feed is the only one that ends a line in these formats.
        const told: Family[] = [{ name: "a", type: "gauge", help, samples: [{ labels: { l: label }, value: 1 }] }];
        for (const [read, format] of [
          [readOpenMetrics, "openmetrics"],
          [readPrometheus, "prometheus"],
        ] as const) {
          assert.equal(read(expose(told, format)).get("a")?.readings[0]?.labels.l, label);
        }
      }),
    );
  });

  it("is in the format that the reader wants most", () => {
    const prometheus =
      "application/openmetrics-text;version=1.0.0;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1";
    assert.equal(negotiate(prometheus), "openmetrics");
    assert.equal(negotiate("text/plain;version=0.0.4"), "prometheus");
    assert.equal(negotiate("application/openmetrics-text;q=0.1, text/plain;q=0.9"), "prometheus");
    for (const any of [undefined, "", "*/*", "text/html", ";;;q=,", "text/plain;q=0"])
      assert.equal(negotiate(any), "openmetrics", any);
  });
});

describe("the delay of the event loop", () => {
  it("is a histogram that only grows", async () => {
    const clock = new ManualClock();
    const lag = new LoopLag(clock);
    lag.start();
    await clock.advance(1_000);
    const first = readOpenMetrics(expose([lag.family()], "openmetrics")).get("morendo_event_loop_delay_seconds");
    await clock.advance(1_000);
    lag.stop();
    await clock.advance(1_000);
    const then = readOpenMetrics(expose([lag.family()], "openmetrics")).get("morendo_event_loop_delay_seconds");
    assert.equal(first?.readings.at(-1)?.value, 10);
    assert.equal(then?.readings.at(-1)?.value, 20);
  });
});
