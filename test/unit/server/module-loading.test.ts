// Where modules may come from, and what happens when one is unloaded or its code is loaded anew.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { defineModule, z } from "../../../src/module.ts";
import { checkModules } from "../../../src/server/module-finder.ts";
import { ModuleHost } from "../../../src/testing/module-host.ts";
import { MorendoError } from "../../../src/util/errors.ts";

const nothing = (): void => undefined;

function fails(code: string, ...words: (string | RegExp)[]) {
  return (thrown: unknown): boolean => {
    assert.ok(thrown instanceof MorendoError, String(thrown));
    assert.equal(thrown.code, code, thrown.message);
    for (const word of words) {
      const isThere = typeof word === "string" ? thrown.message.includes(word) : word.test(thrown.message);
      assert.ok(isThere, `${thrown.message} does not say ${word}`);
    }
    return true;
  };
}

/** The text of a module that announces a feature by which a test knows it. */
function source(name: string, feature: string, more = ""): string {
  return `export default { name: "${name}", ${more} load(api) { api.feature("${feature}"); } };\n`;
}

describe("modules from elsewhere", () => {
  let base: string;
  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), "morendo-modules-"));
  });
  afterEach(() => rmSync(base, { recursive: true }));

  function write(path: string, text: string): string {
    const file = join(base, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
    return file;
  }
  const host = (): ModuleHost => new ModuleHost({ base });
  const features = (loaded: ModuleHost): readonly string[] => loaded.loader.announced("host").features;

  it("load from a file, relative to the configuration's folder or absolute", async () => {
    write("knock.mjs", source("knock", "urn:file"));
    const other = write("other/thing.mjs", source("thing", "urn:absolute"));
    const loaded = await host().load(["./knock.mjs", other]);
    assert.deepEqual(loaded.loader.names, ["knock", "thing"]);
    assert.deepEqual(features(loaded), ["urn:absolute", "urn:file"]);
  });

  it("load from a folder, whose index.js comes before its index.ts", async () => {
    write("package.json", '{"type":"module"}');
    write("both/index.js", source("both", "urn:js"));
    write("both/index.ts", source("both", "urn:ts"));
    write("typed/index.ts", source("typed", "urn:typed"));
    const loaded = await host().load(["./both", "./typed/"]);
    // By their addresses: what runs these tests would take the .ts for the .js.
    assert.deepEqual(
      loaded.loader.list().map(({ file }) => file),
      [join(base, "both/index.js"), join(base, "typed/index.ts")],
    );
  });

  it("go by the name that they give themselves, also for their options", async () => {
    write("a.mjs", source("knock", "urn:a"));
    await assert.rejects(
      host().load(["./a.mjs"], { knock: { loud: true } }),
      fails("MORENDO_MODULE_OPTIONS", "module.knock.loud: there is no such option"),
    );
  });

  it("load from a package by Node's own rules: exports for import only, main, scope, a path into it", async () => {
    const made = (name: string, json: object, file: string, text: string): void => {
      write(`node_modules/${name}/package.json`, JSON.stringify({ name, version: "1.0.0", ...json }));
      write(`node_modules/${name}/${file}`, text);
    };
    made("esm", { type: "module", exports: { import: "./m.js" } }, "m.js", source("esm", "urn:esm"));
    made(
      "@scope/thing",
      { main: "dist/i.js" },
      "dist/i.js",
      source("thing", "urn:thing").replace("export default", "module.exports ="),
    );
    made("many", { type: "module", exports: { "./knock": "./lib/k.js" } }, "lib/k.js", source("knock", "urn:knock"));
    const loaded = await host().load(["esm", "@scope/thing", "npm:many/knock"]);
    assert.deepEqual(loaded.loader.names, ["esm", "thing", "knock"]);
    assert.deepEqual(
      loaded.loader.list().map(({ kind, entry }) => [kind, entry]),
      [
        ["package", "esm"],
        ["package", "@scope/thing"],
        ["package", "npm:many/knock"],
      ],
    );
    await assert.rejects(host().load(["many"]), fails("MORENDO_MODULE_UNKNOWN", '"many"', base, /exports/));
  });

  it("come after Morendo's own of the same name, unless npm: says otherwise", async () => {
    write("node_modules/ping/package.json", '{"name":"ping","type":"module","exports":"./i.js"}');
    write("node_modules/ping/i.js", source("ping", "urn:not-ours"));
    assert.deepEqual(features(await host().load(["ping"])), ["urn:xmpp:ping"]);
    assert.deepEqual(features(await host().load(["npm:ping"])), ["urn:not-ours"]);
  });

  it("that are not there are named with where they were looked for", async () => {
    const unknown = async (entry: string, ...words: (string | RegExp)[]): Promise<void> =>
      await assert.rejects(host().load([entry]), fails("MORENDO_MODULE_UNKNOWN", `"${entry}"`, ...words));
    await unknown("knokc", /modules[/], and no package "knokc"/, base);
    await unknown("npm:knokc", 'no package "knokc"', base);
    await unknown("@scope/knokc", base);
    await unknown("./knokc", join(base, "knokc"), `relative to ${base}`);
    mkdirSync(join(base, "empty"));
    await unknown("./empty", "no index.js or index.ts", join(base, "empty"));
    await unknown("fs", "node:fs", "not a file");
    await unknown("a b", "neither a module's name");
    await unknown("npm:../x", "neither");
  });

  it("that are no modules are refused with what is wrong", async () => {
    const wrong = async (text: string, ...words: (string | RegExp)[]): Promise<void> => {
      const file = write(`wrong-${Math.abs(text.length)}-${words.length}/m.mjs`, text);
      await assert.rejects(host().load([file]), fails("MORENDO_MODULE_FAILED", file, ...words));
    };
    await wrong("export const x = 1;", "no such default export");
    await wrong('export default { name: "No", load() {} };', '"No" is not a name in kebab-case');
    await wrong('export default { name: "knock" };', "no function load");
    await wrong('export default { name: "knock", requires: "presence", load() {} };', "not a list of names");
    await wrong('export default { name: "knock", options: { a: 1 }, load() {} };', "not a schema");
    await wrong('throw new Error("on purpose");', "cannot be read: on purpose");
    await wrong("export default {", "cannot be read");
  });

  it("that give themselves the name of another are refused with both", async () => {
    write("one.mjs", source("knock", "urn:1"));
    write("two.mjs", source("knock", "urn:2"));
    await assert.rejects(
      host().load(["./one.mjs", "./two.mjs"]),
      fails("MORENDO_MODULE_TWICE", '"./one.mjs"', '"./two.mjs"', '"knock"'),
    );
    await assert.rejects(checkModules(["./one.mjs", "./two.mjs"], {}, { base }), fails("MORENDO_MODULE_TWICE"));
  });

  it("with another copy of zod have their options checked as strictly", async () => {
    // What counts is the kind of the schema and not its class.
    const schema = z.object({ loud: z.boolean().default(false) });
    const foreign = Object.create(schema, { strict: { value: () => schema.strict() } }) as typeof schema;
    const module = defineModule({ name: "knock", options: foreign, load: nothing });
    await assert.rejects(
      host().loader.install([module], { knock: { luod: true } }),
      fails("MORENDO_MODULE_OPTIONS", "module.knock.luod"),
    );
  });

  describe("at run time", () => {
    it("are loaded with the options that were configured, and unloaded", async () => {
      write(
        "knock.mjs",
        `export default { name: "knock", options: { def: {}, safeParse: (data) => ({ success: true, data }) },
          load(api, { text }) { api.feature("urn:" + text); } };`,
      );
      const loaded = await host().load(["ping"], { knock: { text: "hello" } });
      assert.equal(await loaded.loader.add("./knock.mjs"), "knock");
      assert.deepEqual(features(loaded), ["urn:hello", "urn:xmpp:ping"]);
      await assert.rejects(
        loaded.loader.add("./knock.mjs"),
        fails("MORENDO_MODULE_TWICE", '"knock" is loaded already'),
      );
      await loaded.loader.remove("knock");
      assert.deepEqual(features(loaded), ["urn:xmpp:ping"]);
      await assert.rejects(
        loaded.loader.remove("knock"),
        fails("MORENDO_MODULE_UNKNOWN", '"knock"', "loaded are ping"),
      );
    });

    it("are read anew when they are loaded again after an unloading", async () => {
      write("knock.mjs", source("knock", "urn:1"));
      const loaded = host();
      await loaded.loader.add("./knock.mjs");
      await loaded.loader.remove("knock");
      write("knock.mjs", source("knock", "urn:2"));
      await loaded.loader.add("./knock.mjs");
      assert.deepEqual(features(loaded), ["urn:2"]);
    });

    it("that require what is not loaded are refused, and nothing changes", async () => {
      write("knock.mjs", source("knock", "urn:1", 'requires: ["presence"],'));
      const loaded = host();
      await assert.rejects(loaded.loader.add("./knock.mjs"), fails("MORENDO_MODULE_MISSING", '"knock"', '"presence"'));
      assert.deepEqual(loaded.loader.names, []);
    });

    it("that another one requires are not unloaded, and the error says who", async () => {
      const loaded = await host().load(["presence", "offline"]);
      await assert.rejects(
        loaded.loader.remove("presence"),
        fails("MORENDO_MODULE_REQUIRED", '"presence"', 'required by "offline"'),
      );
      assert.deepEqual(loaded.loader.names, ["presence", "offline"]);
      await loaded.loader.remove("offline");
      await loaded.loader.remove("presence");
      assert.equal(loaded.hooks.count() + loaded.notifications.count(), 0);
    });

    it("that do not finish loading are given up, and leave nothing", async () => {
      write(
        "slow.mjs",
        'export default { name: "slow", load(api) { api.feature("urn:x"); return new Promise(() => {}); } };',
      );
      const loaded = host();
      const adding = loaded.loader.add("./slow.mjs");
      adding.catch(nothing);
      while (features(loaded).length === 0) await loaded.clock.turn();
      await loaded.clock.advance(31_000);
      await assert.rejects(adding, fails("MORENDO_MODULE_FAILED", '"slow"', "has not loaded after 30 seconds"));
      assert.deepEqual([features(loaded), loaded.loader.names, loaded.clock.pendingTimers], [[], [], 0]);
    });

    it("whose file never runs to its end are given up, and hold up nobody who loads after them", async () => {
      write("stuck.mjs", 'await new Promise(() => {}); export default { name: "stuck", load() {} };');
      write("knock.mjs", source("knock", "urn:1"));
      const loaded = host();
      const stuck = loaded.loader.add("./stuck.mjs");
      stuck.catch(nothing);
      const knock = loaded.loader.add("./knock.mjs");
      while (loaded.clock.pendingTimers === 0) await loaded.clock.turn();
      await loaded.clock.advance(31_000);
      await assert.rejects(
        stuck,
        fails("MORENDO_MODULE_FAILED", '"./stuck.mjs"', "not run to its end after 30 seconds"),
      );
      assert.equal(await knock, "knock");
      assert.equal(loaded.clock.pendingTimers, 0);
    });

    it("are taken one after the other, whoever asks", async () => {
      write("knock.mjs", source("knock", "urn:1"));
      const loaded = host();
      const results = await Promise.allSettled([
        loaded.loader.add("./knock.mjs"),
        loaded.loader.reload("knock"),
        loaded.loader.remove("knock"),
        loaded.loader.add("./knock.mjs"),
        loaded.loader.add("./knock.mjs"),
      ]);
      assert.deepEqual(
        results.map(({ status }) => status),
        ["fulfilled", "fulfilled", "fulfilled", "fulfilled", "rejected"],
      );
      assert.deepEqual(features(loaded), ["urn:1"]);
    });
  });

  describe("whose code is loaded anew", () => {
    it("run the new code, ESM and CommonJS alike", async () => {
      const esm = write("esm.mjs", source("esm", "urn:esm:1"));
      const cjs = write("cjs.cjs", source("cjs", "urn:cjs:1").replace("export default", "module.exports ="));
      const loaded = await host().load(["./esm.mjs", "./cjs.cjs"]);
      for (let edition = 2; edition < 5; edition++) {
        writeFileSync(esm, source("esm", `urn:esm:${edition}`));
        writeFileSync(cjs, source("cjs", `urn:cjs:${edition}`).replace("export default", "module.exports ="));
        await loaded.loader.reload("esm");
        await loaded.loader.reload("cjs");
        assert.deepEqual(features(loaded), [`urn:cjs:${edition}`, `urn:esm:${edition}`]);
      }
    });

    it("keep their options and their place, also among those that require them", async () => {
      const text = (
        tag: string,
      ) => `export default { name: "first", options: { def: {}, safeParse: (data) => ({ success: true, data }) },
        load(api, { word }) { api.hook("iq/get/urn:x", () => { globalThis.${"morendoOrder"}.push("first ${tag} " + word); }); } };`;
      const order: string[] = [];
      (globalThis as { morendoOrder?: string[] }).morendoOrder = order;
      try {
        write("first.mjs", text("old"));
        const loaded = await host().load(["./first.mjs"], { first: { word: "hello" } });
        await loaded.install(
          defineModule({
            name: "second",
            requires: ["first"],
            load: (api) => api.hook("iq/get/urn:x", () => void order.push("second")),
          }),
        );
        write("first.mjs", text("new"));
        await loaded.loader.reload("first");
        const romeo = loaded.bind("romeo@a.test/x");
        await loaded.send(romeo, '<iq type="get" id="1"><q xmlns="urn:x"/></iq>');
        assert.deepEqual(order, ["first new hello", "second"]);
        assert.deepEqual(loaded.loader.names, ["first", "second"]);
      } finally {
        delete (globalThis as { morendoOrder?: string[] }).morendoOrder;
      }
    });

    const BROKEN: readonly (readonly [what: string, text: string, says: string])[] = [
      ["cannot be read", "export default {", "cannot be read"],
      ["has another name", source("other", "urn:2"), 'the file now has the module "other"'],
      ["requires what is not loaded", source("knock", "urn:2", 'requires: ["presence"],'), '"presence"'],
      ["requires itself", source("knock", "urn:2", 'requires: ["knock"],'), "requires what requires it"],
      [
        "takes other options",
        source(
          "knock",
          "urn:2",
          'options: { def: {}, safeParse: () => ({ success: false, error: { issues: [{ code: "x", path: ["a"], message: "bad" }] } }) },',
        ),
        "module.knock.a: bad",
      ],
      [
        "fails while it loads",
        'export default { name: "knock", load(api) { api.feature("urn:half"); api.timer(9, () => {}); throw new Error("no licence"); } };',
        "no licence; the old one is loaded again",
      ],
    ];
    for (const [what, text, says] of BROKEN) {
      it(`and ${what} leave the old one serving, and say so`, async () => {
        write("knock.mjs", source("knock", "urn:1"));
        const loaded = await host().load(["./knock.mjs"]);
        write("knock.mjs", text);
        await assert.rejects(loaded.loader.reload("knock"), (thrown: unknown) => {
          assert.ok(thrown instanceof MorendoError);
          assert.ok(thrown.message.includes(says), thrown.message);
          return true;
        });
        assert.deepEqual(features(loaded), ["urn:1"]);
        assert.deepEqual(loaded.loader.list()[0]?.registrations, { features: 1 });
        assert.equal(loaded.clock.pendingTimers, 0);
        write("knock.mjs", source("knock", "urn:3"));
        await loaded.loader.reload("knock");
        assert.deepEqual(features(loaded), ["urn:3"]);
      });
    }

    it("are gone, and that is told, when neither the new nor the old code loads", async () => {
      const text = (word: string) => `let count = 0;
        export default { name: "knock", load() { if (count++ > 0 || "${word}" === "new") throw new Error("${word} failed"); } };`;
      write("knock.mjs", text("old"));
      const loaded = await host().load(["./knock.mjs"]);
      await loaded.install(defineModule({ name: "needy", requires: ["knock"], load: nothing }));
      write("knock.mjs", text("new"));
      await assert.rejects(
        loaded.loader.reload("knock"),
        fails("MORENDO_MODULE_FAILED", "new failed", "old failed", "not loaded any more", '"needy" must do without it'),
      );
      assert.deepEqual(loaded.loader.names, ["needy"]);
    });

    it("may be Morendo's own", async () => {
      const loaded = await host().load(["roster", "presence", "offline", "disco", "ping"]);
      const before = loaded.loader.list();
      for (const { name } of before) await loaded.loader.reload(name);
      assert.deepEqual(loaded.loader.list(), before);
      const romeo = loaded.bind("romeo@a.test/x");
      await loaded.send(romeo, '<iq type="get" id="1" to="a.test"><ping xmlns="urn:xmpp:ping"/></iq>');
      assert.match(romeo.take().join(), /type="result"/);
    });

    it("but not from a file are refused", async () => {
      const loaded = await host().install(defineModule({ name: "built-in", load: nothing }));
      await assert.rejects(loaded.loader.reload("built-in"), fails("MORENDO_MODULE_MISUSE", '"built-in"'));
    });

    it("leave nothing behind, a hundred times over", async () => {
      write(
        "busy.mjs",
        `export default { name: "busy", load(api) {
          api.hook("presence/sent", () => undefined);
          api.hook("iq/get/urn:x", () => "empty", "early");
          api.on("session/bound", () => {});
          api.on("server-stopping", () => {});
          api.phase("close-sessions", { when: "before", timeout: "2s", cancelled: () => {} }, () => {});
          api.phase("quit", {}, () => {});
          api.feature("urn:x");
          api.feature("urn:y", "account");
          api.identity({ category: "c", type: "t" }, "account");
          api.streamFeature("urn:x", "x");
          api.handover({ version: 1, save: () => null, load: () => {} });
          api.timer(60000, () => {});
          api.timer(5, () => {});
          return () => {};
        } };`,
      );
      const loaded = await host().load(["roster", "presence", "disco"]);
      const all = () => ({
        hooks: loaded.hooks.count(),
        listeners: loaded.notifications.count(),
        participants: loaded.participants.length,
        announcements: [loaded.loader.announced("host"), loaded.loader.announced("account")],
        streamFeatures: loaded.loader.streamFeatures().length,
        handovers: [...loaded.loader.handovers()].length,
        timers: loaded.clock.pendingTimers,
      });
      const before = all();
      await loaded.loader.add("./busy.mjs");
      const during = all();
      assert.notDeepEqual(during, before);
      for (let round = 0; round < 100; round++) {
        await loaded.loader.reload("busy");
        assert.deepEqual(all(), during, `after ${round + 1} reloads`);
      }
      await loaded.loader.remove("busy");
      assert.deepEqual(all(), before);
      assert.deepEqual(loaded.loader.faults(), {});
    });
  });

  it("from a folder of modules go by the folder's name", async () => {
    write("mods/knock/index.mjs", "");
    write("mods/package.json", '{"type":"module"}');
    write("mods/knock/index.js", source("knokc", "urn:1"));
    const folders = [pathToFileURL(`${join(base, "mods")}/`)];
    await assert.rejects(
      new ModuleHost({ folders, base }).load(["knock"]),
      fails("MORENDO_MODULE_FAILED", '"knock"', 'its name is "knokc"'),
    );
  });
});
