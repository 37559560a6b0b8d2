// Keeps the numbers of config/kubernetes/morendo.yaml together with those of the configuration, the image and the benchmarks.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { parse } from "smol-toml";
import { readEnvironment } from "../../../src/config/environment.ts";
import { type Config, configSchema } from "../../../src/config/schema.ts";
import { parseSize } from "../../../src/util/units.ts";

const root = new URL("../../../", import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, root), "utf8");

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly data?: Readonly<Record<string, string>>;
  // biome-ignore lint/suspicious/noExplicitAny: what is in a manifest is what this test finds out
  readonly spec: any;
}

/** Mocha brings a reader of YAML along for its own configuration. */
function readYaml(text: string): Manifest[] {
  const fromMocha = createRequire(createRequire(import.meta.url).resolve("mocha"));
  const yaml = fromMocha("js-yaml") as { loadAll(text: string): Manifest[] };
  return yaml.loadAll(text);
}

describe("config/kubernetes/morendo.yaml", () => {
  const manifests = readYaml(read("config/kubernetes/morendo.yaml"));
  const find = (kind: string, name = "morendo"): Manifest => {
    const found = manifests.find((manifest) => manifest.kind === kind && manifest.metadata.name === name);
    assert.ok(found !== undefined, `${kind} ${name}`);
    return found;
  };
  const config: Config = configSchema.parse(parse(find("ConfigMap").data?.["morendo.toml"] ?? ""));
  const pod = find("StatefulSet").spec.template.spec;
  const [container] = pod.containers;
  const portOf = (address: string | undefined): number => Number(address?.split(":").at(-1));
  const containerPort = (name: string): number =>
    container.ports.find((port: { name: string }) => port.name === name).containerPort;

  it("gives the pod more time than the delay, the deadline and the watchdog take together, as its comment says", () => {
    const { delay, deadline, watchdog_grace: grace } = config.shutdown;
    const margin = pod.terminationGracePeriodSeconds * 1_000 - delay - deadline - grace;
    assert.ok(margin >= 5_000, `a margin of ${margin} ms`);
    const said = `delay (${delay / 1_000} s) + deadline (${deadline / 1_000} s) + watchdog_grace (${grace / 1_000} s), and ${margin / 1_000} s`;
    assert.ok(read("config/kubernetes/morendo.yaml").includes(said), said);
  });

  it("notices that the server is not ready, well before the delay is over", () => {
    const { periodSeconds, timeoutSeconds, failureThreshold, httpGet } = container.readinessProbe;
    assert.ok((periodSeconds * failureThreshold + timeoutSeconds) * 1_000 * 2 <= config.shutdown.delay);
    assert.equal(httpGet.path, "/ready");
    for (const probe of [container.livenessProbe, container.startupProbe]) assert.equal(probe.httpGet.path, "/live");
  });

  it("leads the services and probes to where the server listens, and clients not to the HTTP side", () => {
    assert.equal(containerPort("c2s"), portOf(config.c2s.listen[0]));
    assert.equal(containerPort("c2s-tls"), portOf(config.c2s.listen_tls[0]));
    assert.equal(containerPort("s2s"), portOf(config.s2s.listen[0]));
    assert.equal(containerPort("http"), portOf(config.http.listen[0]));
    assert.equal(config.http.listen[0]?.startsWith("127."), false);
    for (const service of manifests.filter(({ kind }) => kind === "Service")) {
      for (const { port, targetPort } of service.spec.ports) assert.equal(containerPort(targetPort), port);
      assert.ok(service.spec.ports.every(({ targetPort }: { targetPort: string }) => targetPort !== "http"));
    }
    assert.equal(find("Service", "morendo-servers").spec.publishNotReadyAddresses, true);
    const exposed = /^EXPOSE (.*)$/m.exec(read("config/container/Containerfile"))?.[1]?.split(" ").map(Number);
    for (const { containerPort: port } of container.ports) assert.ok(exposed?.includes(port), `EXPOSE ${port}`);
  });

  it("has room for the sessions it lets in, and for two processes during a restart", () => {
    const perSession = /^\| memory per idle TLS session[^|]*\| ([\d.]+) KiB/m.exec(read("docs/BENCHMARKS.md"))?.[1];
    const needed = 100 * 1024 ** 2 + config.c2s.max_connections * Number(perSession) * 1024;
    const { max_memory: most } = config.limits;
    assert.ok(most > 0 && needed <= most, `${needed} of ${most}`);
    const limit = parseSize(`${container.resources.limits.memory}B`) ?? 0;
    assert.ok(2 * most < limit, `twice ${most} of ${limit}`);
  });

  it("is one server with one volume, in which it makes a folder of its own", () => {
    const { replicas, volumeClaimTemplates } = find("StatefulSet").spec;
    assert.equal(replicas, 1);
    assert.deepEqual(volumeClaimTemplates[0].spec.accessModes, ["ReadWriteOncePod"]);
    const mount = container.volumeMounts.find(({ name }: { name: string }) => name === "data").mountPath;
    assert.ok(config.data.startsWith(`${mount}/`), config.data);
    assert.match(read("config/container/Containerfile"), new RegExp(`^VOLUME ${mount}$`, "m"));
  });

  it("sets variables that mean options, or the file", () => {
    const entries: { name: string; value: string }[] = container.env;
    const environment = Object.fromEntries(entries.map(({ name, value }) => [name, value]));
    const { values, unknown } = readEnvironment(environment);
    assert.deepEqual(unknown, []);
    assert.deepEqual(values, [{ variable: "MORENDO_DATA", path: ["data"], value: config.data }]);
    const { mountPath } = container.volumeMounts.find(({ name }: { name: string }) => name === "config");
    assert.equal(environment.MORENDO_CONFIG, `${mountPath}/morendo.toml`);
    const tls = container.volumeMounts.find(({ name }: { name: string }) => name === "tls").mountPath;
    for (const { certificate, key } of config.hosts)
      for (const file of [certificate, key]) assert.ok(file?.startsWith(tls));
  });
});
