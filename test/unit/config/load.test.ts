import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigError, loadConfig } from "../../../src/config/load.ts";

describe("loadConfig", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "morendo-config-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  function load(text: string | undefined, environment: Record<string, string> = {}) {
    const file = text === undefined ? undefined : join(folder, "morendo.toml");
    if (file !== undefined && text !== undefined) writeFileSync(file, text);
    return loadConfig({ file, environment, directory: folder });
  }

  function problems(text: string | undefined, environment: Record<string, string> = {}): string[] {
    try {
      load(text, environment);
    } catch (thrown) {
      assert.ok(thrown instanceof ConfigError);
      return thrown.problems.map(({ place, option, message }) =>
        [place?.replace(`${folder}/`, ""), option, message].filter((part) => part !== undefined).join(": "),
      );
    }
    return [];
  }

  it("fills in every default when there is no file", () => {
    const config = load(undefined);
    assert.deepEqual(config.hosts, [{ name: "localhost" }]);
    assert.equal(config.shutdown.deadline, 25_000);
    assert.equal(config.c2s.max_stanza_size, 256 * 1024);
  });

  it("makes paths absolute, from the folder of the file", () => {
    const config = load(
      'data = "state"\n[[hosts]]\nname = "a.test"\ncertificate = "a.pem"\nkey = "/etc/a.key"\n[log]\nfile = "x.log"',
    );
    assert.equal(config.data, join(folder, "state"));
    assert.deepEqual(config.hosts[0], { name: "a.test", certificate: join(folder, "a.pem"), key: "/etc/a.key" });
    assert.equal(config.log.file, join(folder, "x.log"));
    assert.equal(config.control.socket, join(folder, "state", "control.sock"));
  });

  it("names the line and column of a syntax error", () => {
    assert.deepEqual(problems("[c2s]\nlisten = \n"), ["morendo.toml:2:10: not valid TOML: invalid value"]);
  });

  it("reports every problem at once, with line, option, expectation and what was received", () => {
    const found = problems(
      [
        'date = "x"',
        "[c2s]",
        "listen = [",
        '  "0.0.0.0:5222", # a comment with ]',
        '  "nonsense",',
        "]",
        "max_depth = 0",
        "[s2s]",
        'dialback = "maybe"',
        'enabled = "yes"',
        "[shutdown]",
        "deadline = 30",
        'hurry = "soon"',
      ].join("\n"),
    );
    assert.deepEqual(found.toSorted(), [
      'morendo.toml:10: s2s.enabled: expected true or false, received "yes"',
      'morendo.toml:12: shutdown.deadline: expected a duration such as "30s", received 30',
      'morendo.toml:13: shutdown.hurry: expected a duration such as "30s", received "soon"',
      "morendo.toml:1: date: there is no such option; did you mean data?",
      'morendo.toml:3: c2s.listen[1]: expected "host:port", such as "0.0.0.0:5222" or "[::]:5222", received "nonsense"',
      "morendo.toml:7: c2s.max_depth: expected a whole number above 0, received 0",
      'morendo.toml:9: s2s.dialback: expected one of "allow", "deny", received "maybe"',
    ]);
  });

  it("finds the right one of several hosts", () => {
    const found = problems('[[hosts]]\nname = "a.test"\n\n[[hosts]]\nname = "b@c"\n\n[[hosts]]\nname = "A.test"\n');
    assert.deepEqual(found, [
      'morendo.toml:5: hosts[1].name: expected a domain such as "example.org", received "b@c"',
      'morendo.toml:8: hosts[2].name: expected each host once, received "A.test"',
    ]);
  });

  it("wants certificate and key together", () => {
    assert.deepEqual(problems('[[hosts]]\nname = "a.test"\nkey = "k"\n'), [
      "morendo.toml:1: hosts[0].certificate: expected `certificate` and `key` together, or neither of them, received nothing",
    ]);
  });

  it("refuses ports above 65535", () => {
    assert.equal(problems('[c2s]\nlisten = ["[::1]:65536"]').length, 1);
    assert.deepEqual(problems('[c2s]\nlisten = ["[::1]:65535", "localhost:0"]'), []);
  });

  it("refuses floors that do not fit the deadline", () => {
    assert.deepEqual(problems('[shutdown]\ndeadline = "5s"'), [
      'morendo.toml:2: shutdown.deadline: expected a deadline of at least 8s, which is what the floors of the phases add up to, received "5s"',
    ]);
  });

  it("says when the file is not there", () => {
    const file = join(folder, "none.toml");
    assert.throws(
      () => loadConfig({ file, environment: {}, directory: folder }),
      (thrown) => thrown instanceof ConfigError && thrown.message === `${file}: cannot be read: there is no such file`,
    );
  });

  describe("with environment variables", () => {
    it("lays them over the file, each as its option's kind wants it", () => {
      const config = load('[c2s]\nmax_depth = 5\nmax_resources = 7\n[s2s.routes]\n"x.test" = "127.0.0.1:1"', {
        MORENDO_C2S__MAX_DEPTH: "9",
        MORENDO_C2S__LISTEN: "[::]:5222,127.0.0.1:5222",
        MORENDO_C2S__LISTEN_TLS: "",
        MORENDO_S2S__ENABLED: "false",
        MORENDO_S2S__ROUTES: '{ "b.test" = "127.0.0.1:2" }',
        MORENDO_SHUTDOWN__CLOSE_SESSIONS__FLOOR: "3s",
        MORENDO_DATA: "1234",
        MORENDO_HOSTS: '[{ name = "e.test" }]',
        MORENDO_MODULE__PING__INTERVAL: "30",
      });
      assert.equal(config.c2s.max_depth, 9);
      assert.equal(config.c2s.max_resources, 7);
      assert.deepEqual(config.c2s.listen, ["[::]:5222", "127.0.0.1:5222"]);
      assert.deepEqual(config.c2s.listen_tls, []);
      assert.equal(config.s2s.enabled, false);
      assert.deepEqual(config.s2s.routes, { "b.test": "127.0.0.1:2" });
      assert.equal(config.shutdown.close_sessions.floor, 3_000);
      assert.equal(config.data, join(folder, "1234"));
      assert.deepEqual(config.hosts, [{ name: "e.test" }]);
      assert.deepEqual(config.module, { ping: { interval: 30 } });
    });

    it("names the variable when its value is wrong", () => {
      assert.deepEqual(problems("", { MORENDO_C2S__MAX_DEPTH: "deep" }), [
        'MORENDO_C2S__MAX_DEPTH: c2s.max_depth: expected a whole number above 0, received "deep"',
      ]);
    });

    it("reports a variable that looks like an option and is none", () => {
      assert.deepEqual(problems("", { MORENDO_C2S__LISTN: "x", MORENDO_CONSTRUCTOR__NAME: "x" }), [
        "MORENDO_C2S__LISTN: expected the name of an option; did you mean MORENDO_C2S__LISTEN?",
        "MORENDO_CONSTRUCTOR__NAME: expected the name of an option",
      ]);
    });

    it("leaves variables alone that others set, such as Kubernetes for a service of the same name", () => {
      assert.deepEqual(problems("", { MORENDO_SERVICE_HOST: "10.0.0.1", MORENDO_PORT: "tcp://10.0.0.1:5222" }), []);
    });
  });
});
