// The HTTP side of a real server, over real connections: health, metrics, administration and watching, and clients that mean
// no good.

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { HttpServer } from "../../../src/control/http/http-server.ts";
import { InheritedListeners } from "../../../src/net/inherited.ts";
import type { DrainReport } from "../../../src/shutdown/report.ts";
import { ScriptedPeer } from "../../../src/testing/scripted-peer.ts";
import { systemClock } from "../../../src/util/clock.ts";
import { silentLog } from "../../../src/util/log.ts";
import { systemRandom } from "../../../src/util/random.ts";
import { type HttpOptions, HttpScene } from "../../support/http.ts";
import { type Reading, readOpenMetrics, readPrometheus } from "../../support/metrics.ts";
import { waitUntil } from "../../support/wire.ts";

const WATCHER = "a-token-for-somebody-who-watches";
const SCRAPER = "a-token-for-somebody-who-measures";
const HTTP = {
  tokens: [
    { name: "watcher", token: WATCHER, allow: ["status" as const, "watch" as const] },
    { name: "scraper", token: SCRAPER, allow: ["metrics" as const] },
  ],
};

interface Failure {
  readonly code: string;
  readonly message: string;
}

/** The events of a stream, until one has the name `last` or the stream ends. */
async function eventsOf(response: Response, last: string): Promise<readonly { name: string; data: unknown }[]> {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  assert.ok(reader !== undefined);
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    text += value ?? "";
    const events = text
      .split("\n\n")
      .slice(0, -1)
      .map((block) => ({
        name: /^event: (.*)$/m.exec(block)?.[1] ?? "",
        data: JSON.parse(/^data: (.*)$/m.exec(block)?.[1] ?? "null") as unknown,
      }));
    if (done || events.some(({ name }) => name === last)) {
      await reader.cancel();
      return events;
    }
  }
}

describe("HTTP", function () {
  this.timeout(60_000);

  describe("of a running server", () => {
    let scene: HttpScene;
    before(async () => {
      scene = await HttpScene.start({ http: HTTP });
    });
    after(() => scene[Symbol.asyncDispose]());

    it("says to everybody that it lives and is ready, to GET and HEAD", async () => {
      for (const [path, text] of [
        ["/live", "live\n"],
        ["/ready", "ready\n"],
      ] as const) {
        const response = await scene.ask(path, { authorization: null });
        assert.equal(response.status, 200);
        assert.equal(response.headers.get("content-type"), "text/plain; charset=utf-8");
        assert.equal(await response.text(), text);
        const head = await scene.ask(path, { authorization: null, method: "HEAD" });
        assert.equal(head.status, 200);
        assert.equal(head.headers.get("content-length"), String(text.length));
        assert.equal(await head.text(), "");
      }
    });

    it("tells browsers to keep nothing, load nothing from elsewhere and show it in no frame", async () => {
      for (const path of ["/live", "/", "/api/status", "/nowhere"]) {
        const { headers } = await scene.ask(path);
        assert.match(headers.get("content-security-policy") ?? "", /default-src 'none'.*frame-ancestors 'none'/, path);
        assert.equal(headers.get("x-content-type-options"), "nosniff", path);
        assert.equal(headers.get("access-control-allow-origin"), null, path);
        assert.match(headers.get("cache-control") ?? "", /^no-(store|cache)$/, path);
      }
    });

    it("shows the page to everybody, and not twice to who has it", async () => {
      const page = await scene.ask("/", { authorization: null });
      assert.equal(page.status, 200);
      assert.match(await page.text(), /<title>Morendo<\/title>/);
      const etag = page.headers.get("etag") ?? "";
      const again = await scene.ask("/", { authorization: null, headers: { "if-none-match": etag } });
      assert.equal(again.status, 304);
      for (const path of ["/page.js", "/view.js", "/stream.js", "/page.css", "/icon.svg"])
        assert.equal((await scene.ask(path, { authorization: null })).status, 200, path);
      for (const path of ["/page/index.html", "/../tokens.ts", "/%2e%2e/tokens.ts", "/index.html"])
        assert.notEqual((await scene.ask(path)).status, 200, path);
    });

    it("wants a token for all the rest, and says which way", async () => {
      for (const path of ["/metrics", "/api/status", "/api/events", "/api/nonsense", "/nowhere"]) {
        const method = path === "/api/nonsense" ? "POST" : "GET";
        const response = await scene.ask(path, { authorization: null, method });
        assert.equal(response.status, 401, path);
        assert.equal(response.headers.get("www-authenticate"), 'Bearer realm="Morendo"');
        assert.equal(((await response.json()) as Failure).code, "MORENDO_NO_TOKEN");
      }
      for (const authorization of ["Bearer", "Bearer  ", "Basic b3BlcmF0b3I6eA==", scene.token])
        assert.equal((await scene.ask("/api/status", { authorization })).status, 401, authorization);
    });

    it("takes a token for what it allows and for nothing else", async () => {
      const watcher = { authorization: `Bearer ${WATCHER}` };
      const scraper = { authorization: `Bearer ${SCRAPER}` };
      assert.equal((await scene.ask("/api/status", watcher)).status, 200);
      assert.equal((await scene.ask("/api/report", watcher)).status, 403);
      assert.equal((await scene.ask("/metrics", watcher)).status, 403);
      assert.equal((await scene.ask("/metrics", scraper)).status, 200);
      assert.equal((await scene.ask("/api/events", scraper)).status, 403);
      const refused = await scene.perform("stop", { reason: "mischief" }, scraper);
      assert.equal(refused.status, 403);
      assert.equal(((await refused.json()) as Failure).code, "MORENDO_NOT_ALLOWED");
      assert.equal(scene.server.status.state, "running");
    });

    it("answers with the status, the plan and the report, and with what operations return", async () => {
      const status = (await (await scene.ask("/api/status")).json()) as { state: string; pid: number };
      assert.equal(status.state, "running");
      assert.equal(status.pid, process.pid);
      assert.equal(((await (await scene.ask("/api/plan")).json()) as { budgetMs: number }).budgetMs, 25_000);
      assert.equal(await (await scene.ask("/api/report")).json(), null);
      const list = await scene.perform("user.list");
      assert.deepEqual(((await list.json()) as string[]).toSorted(), ["juliet@a.test", "romeo@a.test"]);
      assert.equal((await scene.perform("user.add", { jid: "nurse@a.test", password: "orchard" })).status, 200);
      await scene.server.login("nurse", "1", { password: "orchard" });
    });

    it("says what is wrong with a request by status and code, and changes nothing", async () => {
      const bad = [
        [await scene.perform("explode"), 404, "MORENDO_UNKNOWN_ACTION"],
        [await scene.perform("constructor"), 404, "MORENDO_UNKNOWN_ACTION"],
        [await scene.perform("stop", { raeson: "a slip" }), 400, "MORENDO_BAD_ARGUMENTS"],
        [await scene.perform("stop", ["stop"]), 400, "MORENDO_BAD_ARGUMENTS"],
        [await scene.perform("user.add", { jid: "romeo@a.test", password: "again" }), 409, "MORENDO_ACCOUNT_EXISTS"],
        [
          await scene.ask("/api/stop", { method: "POST", body: "{", headers: { "content-type": "application/json" } }),
          400,
          "MORENDO_BAD_REQUEST",
        ],
        [
          await scene.ask("/api/stop", { method: "POST", body: "{}", headers: { "content-type": "text/plain" } }),
          415,
          "MORENDO_BAD_REQUEST",
        ],
        [await scene.perform("stop", { reason: "x".repeat(70_000) }), 413, "MORENDO_BAD_REQUEST"],
        [await scene.ask("/nowhere"), 404, "MORENDO_NOT_FOUND"],
        [await scene.ask("/api/stop"), 405, "MORENDO_BAD_METHOD"],
        [await scene.ask("/live", { method: "DELETE" }), 405, "MORENDO_BAD_METHOD"],
      ] as const;
      for (const [response, status, code] of bad) {
        const failure = (await response.json()) as Failure;
        assert.deepEqual([response.status, failure.code], [status, code], failure.message);
        assert.ok(failure.message.length > 5);
        if (status === 405) assert.match(response.headers.get("allow") ?? "", /^(POST|GET, HEAD)$/);
      }
      assert.equal(scene.server.status.state, "running");
    });

    it("has metrics that strict readers take, in both formats", async () => {
      const romeo = await scene.server.login("romeo", "1");
      romeo.send("<iq type='get' id='1' to='a.test'><ping xmlns='urn:xmpp:ping'/></iq>");
      await romeo.waitFor((xml) => xml.includes("id='1'") || xml.includes('id="1"'));
      const scrape = () => scene.ask("/metrics", { authorization: `Bearer ${SCRAPER}` });
      // The first look at the event loop comes a tenth of a second after the start.
      while (/^morendo_event_loop_delay_seconds_count 0$/m.test(await (await scrape()).text()))
        await systemClock.sleep(20);
      const response = await scrape();
      assert.equal(response.headers.get("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
      const families = readOpenMetrics(await response.text());
      const numberOf = (name: string, labels: Record<string, string> = {}): number | undefined =>
        [...families.values()]
          .flatMap(({ readings }) => readings)
          .find(
            (reading) =>
              reading.name === name &&
              Object.entries(labels).every(([label, value]) => reading.labels[label] === value),
          )?.value;
      assert.equal(numberOf("morendo_ready"), 1);
      assert.equal(numberOf("morendo_lifecycle_state", { morendo_lifecycle_state: "running" }), 1);
      assert.ok((numberOf("morendo_sessions") ?? 0) >= 1);
      assert.ok((numberOf("morendo_stanzas_total", { peer: "client", direction: "in", kind: "iq" }) ?? 0) >= 1);
      assert.ok((numberOf("morendo_stanzas_total", { peer: "client", direction: "out", kind: "iq" }) ?? 0) >= 1);
      for (const name of [
        "process_cpu_seconds_total",
        "process_open_fds",
        "morendo_event_loop_delay_seconds_count",
        "morendo_build_info",
      ])
        assert.ok((numberOf(name) ?? 0) > 0, name);
      const older = await scene.ask("/metrics", { headers: { accept: "text/plain;version=0.0.4" } });
      assert.equal(older.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
      assert.equal(readPrometheus(await older.text()).get("morendo_stanzas_total")?.type, "counter");
      for (const { help } of families.values()) assert.ok(help.endsWith("."), help);
    });

    it("tells who watches what it may do, how it stands each second, and what happens", async () => {
      const response = await scene.ask("/api/events", { authorization: `Bearer ${WATCHER}` });
      assert.equal(response.headers.get("content-type"), "text/event-stream; charset=utf-8");
      const events = await eventsOf(response, "state");
      assert.deepEqual(
        events.map(({ name }) => name),
        ["hello", "status", "state"],
      );
      assert.deepEqual(events[0]?.data, { name: "watcher", allowed: ["status", "watch"] });
      assert.deepEqual(events[2]?.data, { state: "running" });
    });

    it("is asked for by an address or a name it knows, and by no other", async () => {
      const get = (host: string): Promise<string> =>
        scene.raw(`GET /live HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
      assert.match(await get(`localhost:${scene.port}`), /^HTTP\/1\.1 200 /);
      assert.match(await get("evil.example"), /^HTTP\/1\.1 421 [\s\S]*MORENDO_BAD_HOST/);
      assert.match(await scene.raw("GET /live HTTP/1.1\r\nConnection: close\r\n\r\n"), /^HTTP\/1\.1 400 /);
      assert.match(
        await scene.raw("GET http://evil.example/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
        /^HTTP\/1\.1 400 /,
      );
    });

    it("is not impressed by what is no HTTP, too large, or smuggled", async () => {
      const ok = "Host: localhost\r\n";
      const bad: readonly (readonly [string, RegExp])[] = [
        ["\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", /^HTTP\/1\.1 400 /],
        ["<stream:stream to='a.test'>\r\n\r\n", /^HTTP\/1\.1 400 /],
        [`GET /${"x".repeat(20_000)} HTTP/1.1\r\n${ok}\r\n`, /^HTTP\/1\.1 431 /],
        [`GET /live HTTP/1.1\r\n${ok}X: ${"y".repeat(20_000)}\r\n\r\n`, /^HTTP\/1\.1 431 /],
        [
          `POST /api/stop HTTP/1.1\r\n${ok}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}`,
          /^HTTP\/1\.1 400 /,
        ],
        [`POST /api/stop HTTP/1.1\r\n${ok}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}`, /^HTTP\/1\.1 400 /],
        [`GET /live HTTP/1.1\r\n${ok} folded: x\r\n\r\n`, /^HTTP\/1\.1 400 /],
        [`GET /live HTTP/9.9\r\n${ok}\r\n`, /^HTTP\/1\.1 (400|505) /],
      ];
      for (const [bytes, expected] of bad) assert.match(await scene.raw(bytes), expected, bytes.slice(0, 60));
      const chunks = `POST /api/stop HTTP/1.1\r\n${ok}Authorization: Bearer ${scene.token}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n`;
      const piece = `4000\r\n${"z".repeat(0x4000)}\r\n`;
      assert.match(await scene.raw(chunks, piece, piece, piece, piece, piece, "0\r\n\r\n"), /^HTTP\/1\.1 413 /);
      assert.equal(scene.server.status.state, "running");
    });

    it("answers requests that are sent ahead in their order, and cuts off who sends far too many", async () => {
      const ahead = (path: string, end = ""): string => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${end}\r\n`;
      const answers = await scene.raw(ahead("/live") + ahead("/ready") + ahead("/nowhere", "Connection: close\r\n"));
      assert.deepEqual(answers.match(/^(HTTP\/1\.1 \d+|live|ready)/gm), [
        "HTTP/1.1 200",
        "live",
        "HTTP/1.1 200",
        "ready",
        "HTTP/1.1 401",
      ]);
      const watching = `GET /api/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${scene.token}\r\n\r\n`;
      const answered = await scene.raw(watching + ahead("/metrics").repeat(100));
      assert.equal(answered.match(/^HTTP/gm)?.length ?? 0, 1);
    });

    it("makes who tries wrong tokens wait, and nobody else", async () => {
      const wrong = (): Promise<Response> =>
        scene.ask("/api/status", { authorization: "Bearer not-a-token-that-anybody-has" });
      const statuses = new Set<number>();
      for (let attempt = 0; attempt < 20; attempt++) statuses.add((await wrong()).status);
      assert.deepEqual([...statuses], [401, 429]);
      assert.match((await wrong()).headers.get("retry-after") ?? "", /^\d+$/);
      assert.equal((await scene.ask("/api/status")).status, 200);
    });
  });

  it("gives who is slow no more time than it has", async () => {
    await using scene = await HttpScene.start(
      {},
      {},
      { limits: { headersMs: 300, requestMs: 600, idleMs: 200, lookMs: 50 } },
    );
    assert.match(await scene.raw("GET /live HTTP/1.1\r\nHost: "), /^HTTP\/1\.1 408 /);
    const body = `POST /api/stop HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${scene.token}\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{`;
    assert.match(await scene.raw(body), /^HTTP\/1\.1 408 /);
    // Nothing at all is asked, and after an answer nothing more.
    assert.match(await scene.raw(), /^(HTTP\/1\.1 408 |$)/);
    assert.match(await scene.raw("GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n"), /^HTTP\/1\.1 200 /);
    assert.equal(scene.server.status.state, "running");
  });

  it("takes as many connections and watchers as it is told", async () => {
    await using scene = await HttpScene.start({ http: { max_connections: 3, max_watchers: 1 } });
    const first = await scene.ask("/api/events");
    const second = await scene.ask("/api/events");
    assert.equal(second.status, 503);
    await second.text();
    const sockets = [
      connect(scene.port, "127.0.0.1"),
      connect(scene.port, "127.0.0.1"),
      connect(scene.port, "127.0.0.1"),
    ];
    for (const socket of sockets) socket.on("error", () => undefined);
    // One of them is one too many.
    await Promise.race(sockets.map((socket) => once(socket, "close")));
    for (const socket of sockets) socket.destroy();
    await first.body?.cancel();
  });

  it("drops who watches and does not read, and goes on", async () => {
    const flooded: HttpOptions["operations"] = {
      perform: async (_name, _args, call) => {
        while (!call.signal.aborted) {
          call.emit("progress", "x".repeat(64 * 1024));
          await systemClock.turn();
        }
        return { ok: true, result: null };
      },
    };
    await using scene = await HttpScene.start({}, {}, { operations: flooded });
    const socket = connect(scene.port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.write(`GET /api/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${scene.token}\r\n\r\n`);
    await once(socket, "data");
    socket.pause();
    const watchers = async (): Promise<number | undefined> =>
      readOpenMetrics(await (await scene.ask("/metrics")).text()).get("morendo_http_watchers")?.readings[0]?.value;
    while ((await watchers()) !== 0) await systemClock.sleep(20);
    assert.equal((await scene.ask("/live")).status, 200);
    socket.destroy();
  });

  it("is red from the first moment of a drain, and answers until its end", async () => {
    await using scene = await HttpScene.start();
    const romeo = await scene.server.login("romeo", "1", { answerClose: false, answerEnd: false });
    const watching = eventsOf(await scene.ask("/api/events"), "end");
    const stopping = scene.server.stop({ reason: "a secret of the operator's" });
    const ready = await scene.ask("/ready", { authorization: null });
    assert.equal(ready.status, 503);
    const why = await ready.text();
    assert.equal(why, "not ready: stopping: a stop was asked for\n");
    assert.equal((await scene.ask("/live", { authorization: null })).status, 200);
    const metrics = readOpenMetrics(await (await scene.ask("/metrics")).text());
    assert.equal(metrics.get("morendo_ready")?.readings[0]?.value, 0);
    assert.ok((metrics.get("morendo_run_remaining_seconds")?.readings[0]?.value ?? 0) > 0);
    const again = await scene.perform("stop", {});
    assert.equal(again.status, 200);
    romeo.destroy();
    const report = await stopping;
    const events = await watching;
    const told = events.find(({ name }) => name === "report")?.data as DrainReport | undefined;
    assert.equal(told?.id, report.id);
    const names = new Set(events.map(({ name }) => name));
    for (const name of ["status", "state", "phase", "report", "end"]) assert.ok(names.has(name), name);
    await scene.http.close();
    await assert.rejects(scene.ask("/live"));
  });

  it("follows a stop step by step, as lines or as events, and ends with the report", async () => {
    for (const [accept, pattern] of [
      ["application/x-ndjson", /^\{"event":"phase",[\s\S]*^\{"event":"result","data":\{"version":1,/m],
      ["text/event-stream", /^event: phase\ndata: [\s\S]*^event: result\ndata: \{"version":1,/m],
    ] as const) {
      await using scene = await HttpScene.start();
      const romeo = await scene.server.login("romeo", "1", { answerClose: false, answerEnd: false });
      const response = await scene.perform("stop", { follow: true }, { headers: { accept } });
      assert.equal(response.status, 200);
      assert.match(response.headers.get("content-type") ?? "", new RegExp(accept));
      romeo.destroy();
      assert.match(await response.text(), pattern);
    }
  });

  it("refuses with the status it deserves also where a stream was asked for", async () => {
    await using scene = await HttpScene.start();
    const response = await scene.perform("stop", { follow: "yes" }, { headers: { accept: "text/event-stream" } });
    assert.equal(response.status, 400);
    assert.equal(((await response.json()) as Failure).code, "MORENDO_BAD_ARGUMENTS");
  });

  it("names other domains in the metrics only where it is told to, and not more than that", async () => {
    await using peer = await ScriptedPeer.start({ domain: "b.test", abilities: { sm: false } });
    for (const max of [0, 1]) {
      await using scene = await HttpScene.start(
        { http: { max_domains: max, metrics: "open" }, s2s: { routes: { "c.test": "127.0.0.1:9" } } },
        { peers: [peer] },
      );
      const romeo = await scene.server.login("romeo", "1");
      romeo.send("<message to='juliet@b.test' type='chat'><body>hi</body></message>");
      await peer.until(({ stanzas }) => stanzas.some(({ name }) => name === "message"));
      const families = readOpenMetrics(await (await scene.ask("/metrics", { authorization: null })).text());
      const named = families.get("morendo_s2s_domain_owed_stanzas");
      if (max === 0) assert.equal(named, undefined);
      else assert.ok((named?.readings.length ?? 9) <= 1);
      const sent = families
        .get("morendo_stanzas")
        ?.readings.find(
          ({ labels }) => labels.peer === "server" && labels.direction === "out" && labels.kind === "message",
        );
      assert.equal(sent?.value, 1);
    }
  });

  it("measures what waits for other servers, how long it has, and what has no room", async () => {
    await using peer = await ScriptedPeer.start({ domain: "b.test" });
    await peer.refuse();
    await using scene = await HttpScene.start(
      { http: { metrics: "open" }, s2s: { journal_max_per_sender: 1 } },
      { peers: [peer] },
    );
    const romeo = await scene.server.login("romeo", "1");
    for (const id of ["m1", "m2"])
      romeo.send(`<message to='juliet@b.test' id='${id}' type='chat'><body>hi</body></message>`);
    await romeo.waitFor((xml) => xml.includes("resource-constraint"));
    await waitUntil(() => scene.server.status.journal?.waiting === 1, "the first waits");
    const families = readOpenMetrics(await (await scene.ask("/metrics", { authorization: null })).text());
    const read = (name: string): readonly Reading[] => families.get(`morendo_s2s_journal_${name}`)?.readings ?? [];
    assert.equal(read("stanzas")[0]?.value, 1);
    assert.ok((read("characters")[0]?.value ?? 0) > 50);
    assert.ok((read("oldest_age_seconds")[0]?.value ?? -1) >= 0);
    assert.equal(read("taken")[0]?.value, 1);
    assert.deepEqual(
      read("refused").map(({ labels, value }) => [labels.bound, value]),
      [
        ["all", 0],
        ["domain", 0],
        ["sender", 1],
        ["domains", 0],
      ],
    );
    assert.equal(read("left").find(({ labels }) => labels.outcome === "proved")?.value, 0);
  });

  it("does not start on a port that is taken, and names the option; without a place to listen it does nothing", async () => {
    await using scene = await HttpScene.start();
    const made = (listen: string[]): HttpServer =>
      new HttpServer({
        config: { ...scene.server.config, http: { ...scene.server.config.http, listen } },
        server: scene.server.server,
        operations: scene.operations,
        inherited: new InheritedListeners([]),
        clock: systemClock,
        random: systemRandom,
        log: silentLog,
      });
    await assert.rejects(made(["127.0.0.1:0", `127.0.0.1:${scene.port}`]).start(), {
      code: "MORENDO_PORT_TAKEN",
      message: `127.0.0.1:${scene.port} is in use by another program (option http.listen)`,
    });
    const idle = made([]);
    await idle.start();
    assert.deepEqual(idle.listening, []);
    await idle.close();
  });
});
