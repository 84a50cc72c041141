/**
 * Writes docs/metrics.md from the declarations in `runtime/observe/`: `npm run docs`.
 *
 * `test/observe/metrics-page.test.ts` writes it again and compares.
 */
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { createMetrics } from "../runtime/observe/metrics.ts";
import type { Declaration } from "../runtime/observe/prometheus.ts";

export const METRICS_PAGE = new URL("../docs/metrics.md", import.meta.url);

/** The page in Markdown. */
export function metricsPage(): string {
  const chapters = groupByChapter(createMetrics().declarations);
  const parts = [...chapters].map(([title, declarations]) => {
    const about = ABOUT[title];
    return [`## ${title}`, ...(about === undefined ? [] : [about]), table(declarations)].join(
      "\n\n",
    );
  });
  return `${[INTRODUCTION, ...parts, EXAMPLES].join("\n\n")}\n`;
}

const INTRODUCTION = `# Metrics

\`GET /metrics\` on the main port, and on a port of its own with \`--metrics-port\`, in Prometheus's text format. \`?name[]=\` picks single ones. This page is
written from the declarations by \`npm run docs\`, and a test compares.

Labels hold what the server itself knows: a route is a pattern (\`/v2/models/:model/infer\`), a model one that is registered, whatever paths are asked for; a
metric has at most 1000 series. Times are seconds. Histograms have \`_bucket\`, \`_sum\` and \`_count\`. Dashboard and alerts: [deploy/grafana](../deploy/grafana/README.md).
The same stages of a single request are in its answer's headers (\`server-timing\`, \`x-queue-time\`, \`x-inference-time\`, \`x-total-time\`,
\`x-compute-tokens\`), and, with a collector, in [traces](tracing.md).`;

const ABOUT: Readonly<Record<string, string>> = {
  "Stages of an inference": `\`\`\`
arrival ── hubserve_queue_seconds ──▶ worker ───────── hubserve_inference_seconds ─────────▶ answer
                                       prepare ─▶ batch_wait ─▶ model ─▶ (shaping the answer)
└───────────────────────────────── hubserve_total_seconds ─────────────────────────────────┘
\`\`\`

The three in the worker are there where the default handler answers; a handler of a repository's own is one piece. A list of inputs counts once for each of
them where they are scheduled one by one.`,
  Workers:
    "What they use is told with their answers, at most once a second: an idle worker's memory is the last known.",
  "TorchServe's": `Under its names, with its labels, units and spelling (times in microseconds are sums), for dashboards that exist. Whatever a handler measures
(\`context.metrics\`) appears beside them under its own name; see [from-torchserve.md](from-torchserve.md).`,
};

const EXAMPLES = `## Questions and answers

\`\`\`promql
# Requests a second, by status
sum by (status) (rate(hubserve_requests_total[5m]))

# How long the slowest one in twenty waited for a worker
histogram_quantile(0.95, sum by (le, model) (rate(hubserve_queue_seconds_bucket[5m])))

# The share of computed tokens that were padding
1 - sum by (model) (rate(hubserve_tokens_total[5m])) / sum by (model) (rate(hubserve_padded_tokens_total[5m]))

# How busy the workers are, from 0 to 1
sum by (model) (rate(hubserve_worker_busy_seconds_total[5m])) / sum by (model) (hubserve_workers{state="ready"})

# Requests that nobody waited for until the end
sum by (model, why) (rate(hubserve_left_total[5m]))
\`\`\``;

function groupByChapter(all: readonly Declaration[]): Map<string, Declaration[]> {
  const groups = new Map<string, Declaration[]>();
  for (const each of all) groups.set(each.chapter, [...(groups.get(each.chapter) ?? []), each]);
  return groups;
}

function table(declarations: readonly Declaration[]): string {
  const rows = declarations.map(({ name, type, labels, help }) => {
    const named = labels.map((label) => `\`${label}\``).join(", ");
    return `| \`${name}\` | ${type} | ${named} | ${help.replaceAll("|", "\\|")} |`;
  });
  return ["| metric | type | labels | meaning |", "|---|---|---|---|", ...rows].join("\n");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(METRICS_PAGE, metricsPage());
