// How the webhook delivers one message, against a real HTTP server that answers, refuses, stalls and breaks off.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { deliver, type Patience } from "../../modules/drain-webhook/delivery.ts";
import { post, signatureOf } from "../../modules/drain-webhook/post.ts";
import { systemClock } from "../../src/util/clock.ts";
import { systemRandom } from "../../src/util/random.ts";

describe("a delivery of the drain webhook", () => {
  let server: Server;
  let url: string;
  let answer: (request: IncomingMessage, response: ServerResponse, number: number) => void;
  let bodies: string[] = [];

  before(async () => {
    server = createServer((request, response) => {
      let body = "";
      request.setEncoding("utf8").on("data", (text: string) => {
        body += text;
      });
      request.on("error", () => undefined);
      request.on("end", () => {
        bodies.push(body);
        answer(request, response, bodies.length);
      });
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
  });
  beforeEach(() => {
    bodies = [];
  });
  after(() => {
    server.closeAllConnections();
    server.close();
  });

  const status = (code: number) => (_: unknown, response: ServerResponse) => {
    response.statusCode = code;
    response.end();
  };

  function send(patience: Partial<Patience> = {}, signal = new AbortController().signal, remaining = 10_000) {
    return deliver(
      { url, body: '{"event":"stopping"}', headers: {} },
      {
        patience: { attempts: 3, timeoutMs: 5_000, pauseMs: 1, ...patience },
        clock: systemClock,
        random: systemRandom,
        signal,
        remaining: () => remaining,
      },
    );
  }

  it("is over with the first 2xx", async () => {
    answer = status(204);
    await send();
    assert.deepEqual(bodies, ['{"event":"stopping"}']);
  });

  it("tries again when the server is in trouble, with the same body", async () => {
    answer = (request, response, number) => status(number < 3 ? 503 : 200)(request, response);
    await send();
    assert.equal(bodies.length, 3);
    assert.equal(new Set(bodies).size, 1);
  });

  it("gives up after so many attempts, and says why", async () => {
    answer = status(500);
    await assert.rejects(send(), /POST to http:\/\/127\.0\.0\.1:\d+ failed after 3 attempts: status 500/);
  });

  it("does not repeat what the server has refused for good", async () => {
    answer = status(401);
    await assert.rejects(send(), /failed after 1 attempt: status 401/);
    assert.equal(bodies.length, 1);
  });

  it("does not follow a redirection", async () => {
    answer = (_, response) => {
      response.writeHead(302, { location: url });
      response.end();
    };
    await assert.rejects(send(), /status 302/);
    assert.equal(bodies.length, 1);
  });

  it("tries again when the connection is reset", async () => {
    answer = (request, response, number) => {
      if (number === 1) request.socket.resetAndDestroy();
      else response.end();
    };
    await send();
    assert.equal(bodies.length, 2);
  });

  it("names the refusal when nobody listens", async () => {
    const unused = createServer().listen(0, "127.0.0.1");
    await once(unused, "listening");
    const closed = `http://127.0.0.1:${(unused.address() as AddressInfo).port}/`;
    unused.close();
    await once(unused, "close");
    await assert.rejects(post({ url: closed, body: "", headers: {} }, new AbortController().signal), /ECONNREFUSED/);
  });

  it("leaves an attempt that takes too long and tries again", async () => {
    answer = (_, response, number) => {
      if (number > 1) response.end();
    };
    await send({ timeoutMs: 100 });
    assert.equal(bodies.length, 2);
  });

  it("ends at once when its time is over, also in the middle of an attempt", async () => {
    const over = new AbortController();
    answer = () => over.abort();
    await assert.rejects(send({ timeoutMs: 600_000 }, over.signal), /failed after 1 attempt: no answer in time/);
  });

  it("does not begin a pause that would outlast its time", async () => {
    answer = status(503);
    await assert.rejects(send({ pauseMs: 600_000 }, undefined, 1_000), /failed after 1 attempt: status 503/);
  });

  it("reads little of an endless answer", async () => {
    let ended = false;
    answer = (_, response) => {
      response.on("error", () => undefined);
      response.on("close", () => {
        ended = true;
      });
      const more = (): void => {
        if (!response.destroyed) response.write("x".repeat(16_384), () => setImmediate(more));
      };
      more();
    };
    await send();
    while (!ended) await systemClock.turn();
  });

  it("is signed so that the receiver can check it", () => {
    // printf '{"a":1}' | openssl dgst -sha256 -hmac 0123456789abcdef
    assert.equal(
      signatureOf('{"a":1}', "0123456789abcdef"),
      "sha256=1c76fbb930d3aa8b1633728fae212c68ca68a6752bb319b98be6fe17e86cf5b8",
    );
  });
});
