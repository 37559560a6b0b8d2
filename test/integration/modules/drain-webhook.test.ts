// The webhook through whole shutdowns, against a real HTTP server that answers, stalls, refuses and breaks off.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { DrainReport, ParticipantReport } from "../../../src/shutdown/report.ts";
import { startServer, type TestServer } from "../../../src/testing/start-server.ts";
import { systemClock } from "../../../src/util/clock.ts";
import { type TemporaryFolder, temporaryFolder } from "../../support/temporary-folder.ts";

const SECRET = "0123456789abcdef";

interface Taken {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly event: string;
  readonly run: string;
  readonly cause?: string;
  readonly reason?: string;
  readonly report?: DrainReport;
}

describe("drain-webhook", function () {
  this.timeout(60_000);
  let http: Server;
  let url: string;
  let folder: TemporaryFolder;
  let taken: Taken[] = [];
  let answer: (response: ServerResponse, number: number) => void;

  before(async () => {
    http = createServer((request, response) => {
      let body = "";
      request.on("error", () => undefined);
      request.setEncoding("utf8").on("data", (text: string) => {
        body += text;
      });
      request.on("end", () => {
        taken.push({ headers: request.headers, body, ...(JSON.parse(body) as Omit<Taken, "headers" | "body">) });
        answer(response, taken.length);
      });
    }).listen(0, "127.0.0.1");
    await once(http, "listening");
    url = `http://127.0.0.1:${(http.address() as AddressInfo).port}/hook`;
  });
  beforeEach(async () => {
    folder = await temporaryFolder();
    taken = [];
    answer = (response) => response.end();
  });
  afterEach(() => folder.remove());
  after(() => {
    http.closeAllConnections();
    http.close();
  });

  function start(options: Readonly<Record<string, unknown>> = {}): Promise<TestServer> {
    const webhook = { url, secret: SECRET, pause: "10ms", ...options };
    const config = {
      data: join(folder.path, "data"),
      modules: ["drain-webhook"],
      module: { "drain-webhook": webhook },
      shutdown: { deadline: "15s" },
    };
    return startServer(config, { store: "lmdb", accounts: [] });
  }

  const participant = (report: DrainReport, phase: string, name: string): ParticipantReport | undefined =>
    report.phases.find((other) => other.name === phase)?.participants.find((other) => other.name === name);

  async function until(condition: () => boolean): Promise<void> {
    while (!condition()) await systemClock.sleep(10);
  }

  it("posts when the stop begins and when everything is drained, signed", async () => {
    await using server = await start();
    const report = await server.stop("new version");
    assert.equal(report.outcome, "clean");
    assert.deepEqual(
      taken.map(({ event, run, cause, reason }) => ({ event, run, cause, reason })),
      ["stopping", "drained"].map((event) => ({ event, run: report.id, cause: "stop", reason: "new version" })),
    );
    const drained = taken[1]?.report;
    // The phase that it is told from has not ended yet.
    assert.equal(drained?.phases.at(-1)?.name, "server-stopping");
    assert.deepEqual(drained?.obligations, report.obligations);
    for (const { headers, body, event } of taken) {
      assert.equal(headers["content-type"], "application/json");
      assert.equal(headers["x-morendo-event"], event);
      const signature = createHmac("sha256", SECRET).update(body).digest("hex");
      assert.equal(headers["x-morendo-signature"], `sha256=${signature}`);
    }
  });

  it("posts at the next start how the run ended, once", async () => {
    const runs: string[] = [];
    for (let round = 0; round < 3; round++) {
      await using server = await start();
      if (round > 0) {
        await until(() => taken.filter(({ event }) => event === "finished").length === round);
        // A second load in the same process finds that it was posted.
        await server.server.modules.reload("drain-webhook");
      }
      runs.push((await server.stop(`round ${round}`)).id);
    }
    const finished = taken.filter(({ event }) => event === "finished");
    assert.deepEqual(
      finished.map(({ run }) => run),
      runs.slice(0, 2),
    );
    assert.deepEqual(
      finished.map(({ report }) => [report?.exitCode, report?.phases.at(-1)?.name, report?.reason]),
      [
        [0, "quit", "round 0"],
        [0, "quit", "round 1"],
      ],
    );
  });

  it("names in the report who did not take it, and posts the end at a later start", async () => {
    answer = (response) => {
      response.statusCode = 503;
      response.end();
    };
    let first: DrainReport;
    {
      await using server = await start({ attempts: 2 });
      first = await server.stop();
    }
    assert.equal(first.outcome, "incomplete");
    for (const [phase, name] of [
      ["stop-accepting", "drain-webhook: stopping"],
      ["drain-s2s", "drain-webhook: drained"],
    ] as const) {
      const fared = participant(first, phase, name);
      assert.equal(fared?.outcome, "failed", name);
      assert.match(fared.error ?? "", /POST to http:\/\/127\.0\.0\.1:\d+ failed after 2 attempts: status 503/);
    }
    taken = [];
    answer = (response) => response.end();
    await using server = await start();
    await until(() => taken.length === 1);
    assert.deepEqual([taken[0]?.event, taken[0]?.run, taken[0]?.report?.exitCode], ["finished", first.id, 4]);
    await server.stop();
  });

  it("survives a connection that is reset", async () => {
    answer = (response, number) => {
      if (number % 2 === 1) response.socket?.resetAndDestroy();
      else response.end();
    };
    await using server = await start();
    const report = await server.stop();
    assert.equal(report.outcome, "clean");
    assert.deepEqual(
      taken.map(({ event }) => event),
      ["stopping", "stopping", "drained", "drained"],
    );
  });

  it("names the refusal when nobody listens", async () => {
    await using server = await start({ url: "http://127.0.0.1:1/", attempts: 2 });
    const report = await server.stop();
    assert.match(participant(report, "drain-s2s", "drain-webhook: drained")?.error ?? "", /ECONNREFUSED/);
  });

  it("holds the stop up no longer than its limit when there is no answer", async () => {
    answer = () => undefined;
    await using server = await start({ limit: "300ms", timeout: "1m" });
    const report = await server.stop();
    for (const [phase, name] of [
      ["stop-accepting", "drain-webhook: stopping"],
      ["drain-s2s", "drain-webhook: drained"],
    ] as const) {
      const fared = participant(report, phase, name);
      assert.equal(fared?.outcome, "timed-out", name);
      assert.ok(fared.durationMs < 5_000);
    }
    assert.equal(report.phases.at(-1)?.outcome, "done");
  });

  it("tells that a stop was cancelled, and of the next one", async () => {
    // The first answer never comes: the stop can be cancelled as long as it is waited for.
    answer = (response, number) => {
      if (number > 1) response.end();
    };
    await using server = await start({ timeout: "1m" });
    const stopping = server.stop("too early");
    await until(() => taken.length === 1);
    assert.deepEqual(await server.server.cancel({ reason: "not now", trigger: "test" }), {
      cancelled: true,
      failed: [],
    });
    const cancelled = await stopping;
    assert.deepEqual(
      taken.map(({ event, run }) => [event, run]),
      [
        ["stopping", cancelled.id],
        ["cancelled", cancelled.id],
      ],
    );
    assert.equal((await server.stop("now")).outcome, "clean");
    assert.deepEqual(
      taken.slice(2).map(({ event, reason }) => [event, reason]),
      [
        ["stopping", "now"],
        ["drained", "now"],
      ],
    );
  });

  it("does not hold the end up when the last report is still being posted", async () => {
    {
      await using server = await start();
      await server.stop();
    }
    taken = [];
    answer = (response, number) => {
      if (number > 1) response.end();
    };
    await using server = await start({ timeout: "1m" });
    await until(() => taken.length === 1);
    const report = await server.stop();
    assert.equal(report.outcome, "clean");
    assert.deepEqual(
      taken.map(({ event }) => event),
      ["finished", "stopping", "drained"],
    );
  });

  it("refuses an address that is none, before anything starts", async () => {
    await assert.rejects(start({ url: "nowhere" }), /module\.drain-webhook\.url: expected an address/);
    await assert.rejects(start({ secret: "short" }), /module\.drain-webhook\.secret: expected at least 16 characters/);
  });
});
