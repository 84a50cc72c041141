/**
 * The manifests of `deploy/`: valid against KServe's own schemas, true to what its webhooks refuse, and to this server.
 *
 * The schemas are KServe's CRDs (`config/crd/full` of its repository). They are looked for in `KSERVE_CRDS`, else in
 * `../shared/kserve-crds`; where there are none that half is skipped and says so.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { before, describe, test } from "node:test";
import { Ajv, type ValidateFunction } from "ajv";
import { parse } from "yaml";

import { describeOptions, readConfig } from "../runtime/config.ts";
import { createMetrics } from "../runtime/observe/metrics.ts";
import { ROOT } from "./support/hubserve.ts";
import {
  at,
  DEPLOY,
  listAt,
  parseManifests,
  readManifests,
  textAt,
  textsIn,
} from "./support/manifests.ts";
import type { Manifest } from "./support/manifests.ts";

const CRDS = process.env["KSERVE_CRDS"] ?? resolve(ROOT, "../shared/kserve-crds");
const ALL = readManifests();
const SERVICES = ALL.filter(({ kind }) => kind === "InferenceService");
const RUNTIMES = ALL.filter(({ kind }) => kind.endsWith("ServingRuntime"));
const nameOf = ({ body }: Manifest): string => String(at(body, "metadata", "name"));

/** A schema that refuses keys which a cluster would drop without a word: that is how typing errors look. */
function strict(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(strict);
  if (typeof schema !== "object" || schema === null) return schema;
  const result = Object.fromEntries(
    Object.entries(schema).map(([key, value]) => [key, strict(value)]),
  );
  const isClosed = typeof result["properties"] === "object" && result["type"] === "object";
  if (!isClosed || "additionalProperties" in result) return result;
  if (result["x-kubernetes-preserve-unknown-fields"] === true) return result;
  return { ...result, additionalProperties: false };
}

/** The schemas say int-or-string, int64 and the like, which Kubernetes means and JSON Schema leaves open. */
const ajv = new Ajv({ strict: false, validateFormats: false, allErrors: true });

function schemaOf(plural: string, version: string): unknown {
  const file = join(CRDS, `serving.kserve.io_${plural}.yaml`);
  const crd: unknown = parse(readFileSync(file, "utf8"));
  const found = listAt(crd, "spec", "versions").find((each) => at(each, "name") === version);
  assert.ok(found, `${file} has ${version}`);
  return at(found, "schema", "openAPIV3Schema");
}

/** The metadata is an object without properties there: a name is checked here. */
function assertValid(validate: ValidateFunction, { file, body }: Manifest): void {
  const metadata = at(body, "metadata");
  const without = { ...(body as object), metadata: {} };
  const isValid = validate(without);
  const problems = validate.errors?.map(
    ({ instancePath, message, params }) => `${instancePath} ${message} ${JSON.stringify(params)}`,
  );
  assert.ok(isValid, `${file}: ${problems?.join("; ")}`);
  assert.match(String(at(metadata, "name")), /^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/, file);
}

const schemas = existsSync(CRDS)
  ? false
  : `KServe's CRDs are neither in KSERVE_CRDS nor in ${CRDS}: its schemas are not checked`;

describe("against KServe's schemas", { skip: schemas }, () => {
  let service: ValidateFunction;
  let runtime: ValidateFunction;
  let podSpec: ValidateFunction;
  before(() => {
    const schema = schemaOf("inferenceservices", "v1beta1");
    service = ajv.compile(strict(schema) as object);
    runtime = ajv.compile(strict(schemaOf("clusterservingruntimes", "v1alpha1")) as object);
    // A predictor holds all that a pod's template does, besides what is KServe's own.
    const predictor = at(schema, "properties", "spec", "properties", "predictor");
    podSpec = ajv.compile(strict(predictor) as object);
  });

  for (const manifest of SERVICES)
    test(`${manifest.file} is a valid InferenceService`, () => assertValid(service, manifest));
  for (const manifest of RUNTIMES)
    test(`${manifest.file} is a valid runtime`, () => assertValid(runtime, manifest));

  test("the Deployment's pods are valid", () => {
    const [deployment] = ALL.filter(
      ({ kind, file }) => kind === "Deployment" && file.includes("base"),
    );
    assert.ok(
      podSpec(at(deployment?.body, "spec", "template", "spec")),
      ajv.errorsText(podSpec.errors),
    );
  });

  test("the schemas see a key that is misspelt, and one that is missing", () => {
    const [manifest] = SERVICES;
    assert.ok(manifest);
    const text = JSON.stringify(manifest.body);
    const misspelt = { ...manifest, body: JSON.parse(text.replace("storageUri", "storageURI")) };
    assert.throws(() => assertValid(service, misspelt), /storageURI/);
    const missing = { ...manifest, body: JSON.parse(text.replace('"predictor"', '"predicator"')) };
    assert.throws(() => assertValid(service, missing), /required property 'predictor'/);
  });
});

const STORAGE = /^(?:hf|pvc|s3|gs|oci|https?|azure|hdfs|webhdfs|abfss):\/\/[^\s]+$/;

describe("what KServe's webhooks and Knative refuse", () => {
  test("there is one runtime and an example for each way to bring a model", () => {
    assert.deepEqual(RUNTIMES.map(nameOf), ["hubserve"]);
    assert.ok(SERVICES.length >= 8);
  });

  for (const { file, body, apiVersion } of RUNTIMES) {
    test(`${file}: one port, both protocols, priorities that nobody else has`, () => {
      assert.equal(apiVersion, "serving.kserve.io/v1alpha1");
      const containers = listAt(body, "spec", "containers");
      assert.deepEqual(
        containers.map((each) => at(each, "name")),
        ["kserve-container"],
      );
      const ports = containers.flatMap((each) => listAt(each, "ports"));
      assert.deepEqual(
        ports.map((each) => at(each, "containerPort")),
        [8080],
      );
      assert.deepEqual(listAt(body, "spec", "protocolVersions"), ["v1", "v2"]);
      const formats = listAt(body, "spec", "supportedModelFormats");
      const selected = formats.filter((each) => at(each, "autoSelect") === true);
      assert.ok(selected.length > 0);
      for (const format of selected) assert.equal(at(format, "priority"), 2);
      // kserve-torchserve has pytorch with priority 2.
      const pytorch = formats.find((each) => at(each, "name") === "pytorch");
      assert.equal(at(pytorch, "autoSelect"), false);
      const names = formats.map(
        (each) => `${String(at(each, "name"))} ${String(at(each, "version"))}`,
      );
      assert.equal(new Set(names).size, names.length);
    });
  }

  for (const { file, body, apiVersion } of SERVICES) {
    const predictor = at(body, "spec", "predictor");
    const mode = at(body, "metadata", "annotations", "serving.kserve.io/deploymentMode");
    test(`${file}: a model that KServe finds, a mode that can do what is asked`, () => {
      assert.equal(apiVersion, "serving.kserve.io/v1beta1");
      const uri = at(predictor, "model", "storageUri");
      const format = at(predictor, "model", "modelFormat", "name");
      if (at(predictor, "model") === undefined) {
        const containers = listAt(predictor, "containers");
        assert.equal(at(containers[0], "name"), "kserve-container");
      } else if (uri === undefined) {
        assert.equal(
          format,
          "huggingface",
          "without storageUri an agent for many models is injected",
        );
      } else assert.match(textAt(predictor, "model", "storageUri"), STORAGE);
      if (at(predictor, "model") !== undefined)
        assert.equal(at(predictor, "model", "runtime"), nameOf(RUNTIMES[0] as Manifest));
      assert.ok([undefined, "Knative", "Standard"].includes(mode as string | undefined));
      const asksKnative = ["canaryTrafficPercent", "scaleMetric"].some(
        (key) => at(predictor, key) !== undefined,
      );
      if (asksKnative || at(predictor, "minReplicas") === 0) assert.equal(mode, "Knative");
      if (at(predictor, "autoScaling") !== undefined) assert.equal(mode, "Standard");
      const scaler = at(body, "metadata", "annotations", "serving.kserve.io/autoscalerClass");
      assert.equal(scaler === "keda", at(predictor, "autoScaling") !== undefined);
    });
  }

  test("nothing that Knative refuses, or that slows its probes, is in a service or runtime", () => {
    for (const { file, body } of [...SERVICES, ...RUNTIMES]) {
      const keys = keysIn(body);
      for (const refused of ["lifecycle", "terminationGracePeriodSeconds", "periodSeconds"])
        assert.ok(!keys.includes(refused), `${file} has ${refused}`);
    }
  });

  test("the formats of the services are the runtime's", () => {
    const formats = listAt(RUNTIMES[0]?.body, "spec", "supportedModelFormats").map((each) =>
      at(each, "name"),
    );
    for (const { body, file } of SERVICES) {
      const format = at(body, "spec", "predictor", "model", "modelFormat", "name");
      if (format !== undefined) assert.ok(formats.includes(format), file);
    }
  });
});

function keysIn(value: unknown): readonly string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, each]) => [key, ...keysIn(each)]);
}

/** Every container that some pod of these manifests is made of, patches apart. */
function containersOf({ kind, body }: Manifest): readonly unknown[] {
  if (kind === "Deployment") return listAt(body, "spec", "template", "spec", "containers");
  if (kind === "InferenceService") return listAt(body, "spec", "predictor", "containers");
  return kind.endsWith("ServingRuntime") ? listAt(body, "spec", "containers") : [];
}

const WHOLE = ALL.filter(({ file }) => !/overlays\/(?:volume\/mount|gpu\/gpu)\.yaml$/.test(file));

describe("what this server understands and says", () => {
  const env = new Set<string>();

  test("the arguments are options of hubserve, and its port is the one that is listed", () => {
    for (const manifest of [...RUNTIMES, ...SERVICES]) {
      const args = [
        ...containersOf(manifest).flatMap((each) => listAt(each, "args")),
        ...listAt(manifest.body, "spec", "predictor", "model", "args"),
      ].map((text) => String(text).replace("{{.Name}}", "mine"));
      // The runtime's come first, as KServe puts them.
      const config = readConfig({
        args: ["--model_name=x", ...args],
        env: {},
        cwd: "/",
        home: "/",
      });
      assert.deepEqual(config.notices, [], manifest.file);
      assert.equal(config.port, 8080, manifest.file);
    }
  });

  test("variables that begin with HUBSERVE_ or HF_ are read by it", () => {
    const known = new Set(["HF_HOME", ...describeOptions().flatMap(({ variables }) => variables)]);
    for (const manifest of WHOLE) {
      for (const container of containersOf(manifest))
        for (const each of listAt(container, "env")) env.add(String(at(each, "name")));
      for (const generator of listAt(manifest.body, "configMapGenerator"))
        for (const literal of listAt(generator, "literals"))
          env.add(String(literal).split("=")[0] ?? "");
    }
    assert.ok(env.size > 3);
    for (const name of env)
      assert.ok(known.has(name) || name === "STORAGE_URI", `${name} is no variable of hubserve`);
  });

  test("probes ask routes of the Open Inference Protocol, on a port that the container has", () => {
    let probes = 0;
    for (const manifest of WHOLE) {
      for (const container of containersOf(manifest)) {
        const ports = listAt(container, "ports").flatMap((each) => [
          at(each, "name"),
          at(each, "containerPort"),
        ]);
        for (const probe of ["readinessProbe", "livenessProbe", "startupProbe"]) {
          const http = at(container, probe, "httpGet");
          if (http === undefined) continue;
          probes++;
          const path = probe === "livenessProbe" ? "/v2/health/live" : "/v2/health/ready";
          assert.equal(at(http, "path"), path, manifest.file);
          assert.ok(ports.includes(at(http, "port")), manifest.file);
        }
        assert.ok(at(container, "readinessProbe"), `${manifest.file}: TCP would be probed`);
      }
    }
    assert.ok(probes >= 6);
  });

  test("metrics that something scales on or asks for are metrics of hubserve", () => {
    const metrics = createMetrics();
    metrics.ofModel("m", "1.0");
    const page = metrics.render([]);
    const known = new Set([...page.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name));
    const rule = parse(
      readFileSync(join(DEPLOY, "kubernetes/overlays/autoscaling/adapter-rule.yaml"), "utf8"),
    ) as unknown;
    const made = listAt(rule, "rules", "custom").map((each) => String(at(each, "name", "as")));
    const texts = [...ALL.map(({ body }) => body), rule].flatMap((body) => textsIn(body));
    const named = new Set(
      texts.flatMap((text) => [...text.matchAll(/\b(?:hubserve|inf)_\w+/g)].map(([name]) => name)),
    );
    assert.ok(named.has("hubserve_queue_requests") && named.has("hubserve_running_requests"));
    for (const name of named)
      assert.ok(known.has(name) || made.includes(name), `${name} is no metric of hubserve`);
  });

  test("containers run as nobody in particular, write nowhere but to volumes, and have no capabilities", () => {
    for (const manifest of WHOLE) {
      for (const container of containersOf(manifest)) {
        const pod = at(manifest.body, "spec", "template", "spec", "securityContext");
        const own = at(container, "securityContext");
        const either = (...path: string[]): unknown => at(own, ...path) ?? at(pod, ...path);
        const { file } = manifest;
        assert.equal(either("runAsNonRoot"), true, file);
        assert.equal(at(own, "readOnlyRootFilesystem"), true, file);
        assert.equal(at(own, "allowPrivilegeEscalation"), false, file);
        assert.deepEqual(at(own, "capabilities", "drop"), ["ALL"], file);
        assert.equal(either("seccompProfile", "type"), "RuntimeDefault", file);
        const mounts = listAt(container, "volumeMounts").map((each) => at(each, "mountPath"));
        assert.ok(mounts.includes("/tmp"), file);
        // Threads are counted from the limit.
        assert.ok(at(container, "resources", "limits", "cpu"), file);
        assert.ok(at(container, "resources", "limits", "memory"), file);
      }
    }
  });
});

for (const page of ["docs/kserve.md", "docs/scaling.md", "deploy/inference-endpoints/README.md"]) {
  test(`${page} names files, options and metrics that there are`, () => {
    const text = readFileSync(join(ROOT, page), "utf8");
    const links = [...text.matchAll(/\]\(([^)#:]+)\)/g)].map(([, link = ""]) =>
      join(ROOT, page, "..", link),
    );
    const named = [...text.matchAll(/\b(?:deploy|bench|test|scripts)\/[\w/.-]*\w/g)].map(([path]) =>
      join(ROOT, path),
    );
    const examples = [...text.matchAll(/^\| `([\w-]+\.yaml)`/gm)].map(([, file = ""]) =>
      join(DEPLOY, "kserve", file),
    );
    for (const path of [...links, ...named, ...examples]) assert.ok(existsSync(path), path);
    assert.ok(links.length + named.length > 1);
    if (page === "docs/kserve.md") assert.equal(examples.length, SERVICES.length);

    const flags = [...text.matchAll(/`--([a-z][\w-]*)/g)].map(([, flag = ""]) =>
      flag.replaceAll("_", "-"),
    );
    const known = describeOptions().map(({ row }) => row.flag);
    const others = [
      "help",
      "k",
      "http-port",
      "env",
      "secret",
      "scale-to-zero",
      "shapes",
      "min-replica",
    ];
    for (const flag of flags)
      assert.ok([...known, ...others].includes(flag), `${page} names --${flag}`);
    const metrics = createMetrics();
    metrics.ofModel("m", "1.0");
    const shown = metrics.render([]);
    for (const [name] of text.matchAll(/\bhubserve_[a-z_]+?(?=(?:_sum|_count|_bucket)?\b)/g))
      assert.ok(shown.includes(name), `${page} names the metric ${name}`);
  });
}

test("deploy/check-hardened.sh is a script that a shell reads, and asks for what exists", () => {
  const path = join(DEPLOY, "check-hardened.sh");
  execFileSync("sh", ["-n", path]);
  const text = readFileSync(path, "utf8");
  for (const flag of [
    "--read-only",
    "--cap-drop ALL",
    "--security-opt no-new-privileges",
    "--user",
  ])
    assert.ok(text.includes(flag), flag);
  const [, line = ""] = /"\$image" serve (.*)\)/.exec(text) ?? [];
  assert.equal(readConfig({ args: line.split(" "), env: {}, cwd: "/", home: "/" }).port, 8080);
});

/** `kubectl kustomize`, where there is a kubectl. */
function build(folder: string): readonly Manifest[] | undefined {
  try {
    const text = execFileSync("kubectl", ["kustomize", join(DEPLOY, folder)], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });
    return parseManifests(text, folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

describe("kubernetes/", () => {
  const kustomizations = ALL.filter(({ kind }) => kind === "Kustomization");
  const base = ALL.filter(({ file }) => file.startsWith("kubernetes/base/"));
  const labels = at(
    base.find(({ kind }) => kind === "Deployment")?.body,
    "spec",
    "template",
    "metadata",
    "labels",
  );

  test("every file that a kustomization names is there, and every file is named or says why not", () => {
    const named = new Set<string>();
    for (const { file, body } of kustomizations) {
      const folder = join(DEPLOY, file, "..");
      const paths = [
        ...listAt(body, "resources").map((each) => textAt(each)),
        ...listAt(body, "patches").map((each) => textAt(each, "path")),
      ].filter((path) => path !== "");
      for (const path of paths) {
        assert.ok(existsSync(join(folder, path)), `${file} names ${path}`);
        named.add(join(folder, path));
      }
    }
    const stray = ALL.filter(
      ({ file, kind }) =>
        kind !== "Kustomization" && kind !== "InferenceService" && !named.has(join(DEPLOY, file)),
    );
    assert.deepEqual(
      stray.map(({ file }) => file),
      [],
    );
  });

  test("selectors match the pods' labels, and ports are the container's", () => {
    const inKubernetes = ALL.filter(({ file }) => file.startsWith("kubernetes/"));
    const selectors = inKubernetes.flatMap(({ kind, body, file }) => {
      if (kind === "Service") return [{ file, selector: at(body, "spec", "selector") }];
      if (kind === "NetworkPolicy")
        return [{ file, selector: at(body, "spec", "podSelector", "matchLabels") }];
      const selector = at(body, "spec", "selector", "matchLabels");
      return selector === undefined ? [] : [{ file, selector }];
    });
    assert.ok(selectors.length >= 5);
    for (const { file, selector } of selectors) assert.deepEqual(selector, labels, file);

    const find = (kind: string): unknown => inKubernetes.find((each) => each.kind === kind)?.body;
    const deployment = find("Deployment");
    const ports = containersOf(base.find(({ kind }) => kind === "Deployment") as Manifest).flatMap(
      (each) => listAt(each, "ports").map((port) => at(port, "name")),
    );
    assert.deepEqual(ports, ["http"]);
    assert.equal(at(find("Service"), "spec", "ports", 0, "targetPort"), "http");
    assert.equal(at(find("PodMonitor"), "spec", "podMetricsEndpoints", 0, "port"), "http");
    assert.equal(at(find("NetworkPolicy"), "spec", "ingress", 0, "ports", 0, "port"), "http");
    const target = at(find("HorizontalPodAutoscaler"), "spec", "scaleTargetRef");
    assert.deepEqual(target, {
      apiVersion: at(deployment, "apiVersion"),
      kind: "Deployment",
      name: at(deployment, "metadata", "name"),
    });
  });

  test("what a pod may take to end is more than draining takes", () => {
    const dockerfile = readFileSync(join(ROOT, "Dockerfile"), "utf8");
    const seconds = (name: string): number =>
      Number(new RegExp(`HUBSERVE_${name}=(\\d+)s`).exec(dockerfile)?.[1]);
    const workersMs = 6; // process.ts: 5 s to stop and 1 s to end
    const total = seconds("DRAIN_DELAY") + seconds("DRAIN_TIMEOUT") + workersMs;
    const deployment = base.find(({ kind }) => kind === "Deployment")?.body;
    const grace = at(deployment, "spec", "template", "spec", "terminationGracePeriodSeconds");
    assert.ok(total < Number(grace), `${total} s of ${String(grace)} s`);
  });

  for (const folder of [
    "kserve",
    "kubernetes/base",
    ...["autoscaling", "volume", "gpu"].map((name) => `kubernetes/overlays/${name}`),
  ]) {
    test(`${folder} is built by kustomize, with an image of a registry`, (t) => {
      const built = build(folder);
      if (built === undefined) return t.skip("there is no kubectl here");
      const images = built.flatMap(containersOf).map((each) => String(at(each, "image")));
      assert.ok(images.length > 0);
      for (const image of images) assert.match(image, /^registry\.example\.com\/hubserve:0\.1\.0/);
      if (folder.endsWith("volume")) {
        const map = built.find(({ kind }) => kind === "ConfigMap");
        assert.equal(at(map?.body, "data", "HF_MODEL_ID"), undefined);
        const [container] = built.flatMap(containersOf);
        const mounts = listAt(container, "volumeMounts");
        const models = mounts.find((each) => at(each, "mountPath") === "/mnt/models");
        assert.equal(at(models, "readOnly"), true);
        assert.equal(mounts.length, 3);
      }
      if (folder.endsWith("autoscaling")) {
        const deployment = built.find(({ kind }) => kind === "Deployment");
        assert.equal(at(deployment?.body, "spec", "replicas"), undefined);
      }
      if (folder.endsWith("gpu")) assert.match(images[0] ?? "", /-cuda$/);
      return undefined;
    });
  }
});
