import assert from "node:assert/strict";
import { test } from "node:test";

import { createModels, type ModelEntry } from "../../runtime/engine/models.ts";
import { chooseVersion } from "../../runtime/engine/traffic.ts";
import { readyModels } from "../support/app-matrix.ts";

/** An engine that answers whatever it is asked, taken from the doors' tests. */
function engineOf(): Parameters<ModelEntry["started"]>[0] {
  return readyModels().ready();
}

test("the first version of a model is its default, until another is chosen", () => {
  const models = createModels();
  models.register("m", { version: "1.0" }).started(engineOf());
  models.register("m", { version: "2.0" }).started(engineOf());
  assert.equal(models.find("m").version, "1.0");
  assert.equal(models.ready("m").model.version, "1.0");
  assert.equal(models.ready("m", "2.0").model.version, "2.0");
  models.setDefault("m", "2.0");
  assert.equal(models.defaultVersion("m"), "2.0");
  assert.equal(models.ready().model.version, "2.0");
  assert.deepEqual(
    models.versions("m").map(({ version }) => version),
    ["1.0", "2.0"],
  );
});

test("what is not there, or there already, is said by name", () => {
  const models = createModels();
  assert.throws(() => models.find(), { code: "MODEL_NOT_FOUND" });
  models.register("m");
  const refusals: readonly (readonly [() => unknown, string, RegExp])[] = [
    [() => models.register("m"), "CONFLICT", /version 1\.0 of the model "m"/],
    [() => models.find("x"), "MODEL_NOT_FOUND", /the model "x": this server has "m"$/],
    [() => models.find("m", "3"), "VERSION_NOT_FOUND", /version 3 of the model "m": it has 1\.0$/],
    [() => models.setDefault("m", "3"), "VERSION_NOT_FOUND", /version 3/],
    [() => models.setTraffic("m", { "3": 1 }), "VERSION_NOT_FOUND", /version 3/],
    [() => models.ready("m"), "NOT_READY", /the model is starting/],
  ];
  for (const [action, code, message] of refusals) assert.throws(action, { code, message });
});

test("a default version goes last; with it goes the name", () => {
  const models = createModels();
  models.register("m", { version: "1" });
  models.register("m", { version: "2" });
  models.setTraffic("m", { "1": 1, "2": 1 });
  assert.throws(() => models.remove("m"), { code: "CONFLICT" });
  models.remove("m", "2");
  assert.equal(models.traffic("m"), undefined, "nothing is sent to what is gone");
  models.remove("m");
  assert.deepEqual(models.list, []);
});

test("a model without workers answers nobody and says why", () => {
  const models = createModels();
  const entry = models.register("m");
  entry.started(engineOf());
  assert.equal(entry.isReady, true);
  entry.unloaded("It was scaled to no workers");
  assert.equal(entry.isReady, false);
  assert.throws(() => models.ready("m"), {
    code: "NOT_READY",
    message: /unloaded \(It was scaled to no workers\)/,
  });
  entry.started(engineOf());
  assert.equal(models.ready("m").model, entry);
});

test("requests without a version are shared out by weight, those of one key stay together", () => {
  let place = 0;
  const models = createModels(() => place);
  for (const version of ["1", "2"]) models.register("m", { version }).started(engineOf());
  models.setTraffic("m", { "1": 90, "2": 10 });
  const chosen = Array.from({ length: 100 }, (_, i) => {
    place = i / 100;
    return models.ready("m").model.version;
  });
  assert.equal(chosen.filter((version) => version === "2").length, 10);
  const ofKeys = Array.from({ length: 2000 }, (_, i) => models.ready("m", undefined, `user-${i}`));
  const share = ofKeys.filter(({ model }) => model.version === "2").length / 2000;
  assert.ok(share > 0.08 && share < 0.12, String(share));
  assert.equal(
    models.ready("m", undefined, "user-7").model,
    models.ready("m", undefined, "user-7").model,
  );
  models.setTraffic("m", undefined);
  assert.equal(models.ready("m").model.version, "1");
});

test("chooseVersion() gives nothing to a weight of zero, and nothing at all where all are zero", () => {
  assert.equal(chooseVersion({ a: 0, b: 1 }, 0), "b");
  assert.equal(chooseVersion({ a: 1, b: 0 }, 0.999999), "a");
  assert.equal(chooseVersion({ a: 0 }, 0.5), undefined);
});
