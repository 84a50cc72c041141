/**
 * docs/metrics.md is what is declared, and whatever reads metrics by name reads those that there are.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { parse } from "yaml";
import { z } from "zod";

import { createMetrics } from "../../runtime/observe/metrics.ts";
import { METRICS_PAGE, metricsPage } from "../../scripts/metrics-page.ts";
import { DEPLOY } from "../support/manifests.ts";

const DECLARED = new Map(createMetrics().declarations.map((each) => [each.name, each]));

test("docs/metrics.md is current: `npx tsx scripts/metrics-page.ts` writes it", () => {
  assert.equal(readFileSync(METRICS_PAGE, "utf8"), metricsPage());
});

test("each metric says what it counts, in a sentence, and is named as Prometheus's rules have it", () => {
  for (const { name, type, help, chapter, labels } of DECLARED.values()) {
    if (chapter === "TorchServe's") continue;
    assert.match(name, /^(?:hubserve|process|inf)_[a-z0-9_]+$/);
    assert.equal(name.endsWith("_total"), type === "counter", `${name} is a ${type}`);
    assert.match(help, /^[A-Z].{6,}[^.]$/, name);
    assert.notEqual(chapter, "", name);
    for (const label of labels) assert.match(label, /^[a-z_]+$/);
  }
});

/** Names of metrics in an expression, with what makes them samples taken off. */
function metricsIn(text: string): readonly string[] {
  const names = text.match(/\b(?:hubserve|process|inf)_[a-z0-9_]+/g) ?? [];
  return names.map((name) => {
    const base = name.replace(/_(?:bucket|sum|count)$/, "");
    return DECLARED.get(base)?.type === "histogram" ? base : name;
  });
}

/** What an adapter makes of metrics for an autoscaler: names of its own. */
const OF_THE_ADAPTER = new Set(["hubserve_requests_in_house"]);

describe("what reads metrics by name finds them", () => {
  const files = readdirSync(DEPLOY, { recursive: true })
    .map(String)
    .filter((file) => /\.(?:ya?ml|json)$/.test(file));
  for (const file of files) {
    const names = metricsIn(readFileSync(join(DEPLOY, file), "utf8"));
    if (names.length === 0) continue;
    test(`deploy/${file}`, () => {
      const unknown = names.filter((name) => !DECLARED.has(name) && !OF_THE_ADAPTER.has(name));
      assert.deepEqual(unknown, []);
    });
  }
  test("among them the dashboard, the alerts and the autoscalers", () => {
    for (const file of ["grafana/hubserve.json", "grafana/alerts.yaml", "kserve/keda.yaml"])
      assert.ok(metricsIn(readFileSync(join(DEPLOY, file), "utf8")).length > 0, file);
  });
  test("a name that is misspelt would be found", () => {
    assert.deepEqual(metricsIn("rate(hubserve_queue_seconds_bucket[5m]) + hubserve_quue"), [
      "hubserve_queue_seconds",
      "hubserve_quue",
    ]);
    assert.ok(!DECLARED.has("hubserve_quue"));
  });
});

/** `rate(name{label="…"}` and `by (label)`: the labels that an expression asks of one metric. */
const SELECTOR = /\b((?:hubserve|process)_[a-z0-9_]+?)(?:_bucket|_sum|_count)?\{([^}]*)\}/g;

const Dashboard = z.object({
  uid: z.string(),
  templating: z.object({ list: z.array(z.object({ name: z.string() })) }),
  panels: z.array(
    z.object({
      id: z.number(),
      type: z.string(),
      title: z.string().min(1),
      gridPos: z.object({ h: z.number(), w: z.number(), x: z.number(), y: z.number() }),
      datasource: z.object({ uid: z.literal("${datasource}") }).optional(),
      targets: z.array(z.object({ expr: z.string(), refId: z.string() })).optional(),
    }),
  ),
});

const Rules = z.object({
  groups: z.array(
    z.object({
      name: z.string(),
      rules: z.array(
        z.strictObject({
          alert: z.string().regex(/^Hubserve[A-Z]\w+$/),
          expr: z.string(),
          for: z.string().optional(),
          labels: z.object({ severity: z.enum(["warning", "critical"]) }),
          annotations: z.object({ summary: z.string(), description: z.string() }),
        }),
      ),
    }),
  ),
});

const dashboard = Dashboard.parse(
  JSON.parse(readFileSync(join(DEPLOY, "grafana/hubserve.json"), "utf8")),
);
const rules = Rules.parse(parse(readFileSync(join(DEPLOY, "grafana/alerts.yaml"), "utf8")));
const EXPRESSIONS = [
  ...dashboard.panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr }) => [title, expr] as const),
  ),
  ...rules.groups.flatMap((group) => group.rules.map(({ alert, expr }) => [alert, expr] as const)),
];

test("the dashboard's panels stand beside each other, each with a number and a question of its own", () => {
  const { panels } = dashboard;
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
  const taken = new Set<string>();
  for (const { title, type, targets = [], gridPos } of panels) {
    assert.equal(targets.length > 0, type !== "row", title);
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++)
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        assert.ok(x < 24 && !taken.has(`${x} ${y}`), `${title} lies on another`);
        taken.add(`${x} ${y}`);
      }
  }
});

test("every expression is closed, and selects by labels that its metric has", () => {
  assert.ok(EXPRESSIONS.length > 40);
  for (const [title, expression] of EXPRESSIONS) {
    for (const [open, close] of ["()", "{}", "[]"])
      assert.equal(expression.split(open!).length, expression.split(close!).length, title);
    for (const [, name = "", selector = ""] of expression.matchAll(SELECTOR)) {
      const known = DECLARED.get(name)?.labels ?? [];
      for (const [, label = ""] of selector.matchAll(/(\w+)\s*(?:=~|!=|=)/g))
        assert.ok([...known, "job"].includes(label), `${title}: ${name} has no ${label}`);
    }
    // A counter's own value says nothing, and a gauge has no rate.
    for (const [, name = ""] of expression.matchAll(/(?:rate|increase)\(([a-z0-9_]+)/g)) {
      const type =
        DECLARED.get(name.replace(/_(?:bucket|sum|count)$/, ""))?.type ?? DECLARED.get(name)?.type;
      assert.ok(type === "counter" || type === "histogram", `${title}: ${name} is a ${type}`);
    }
  }
});
