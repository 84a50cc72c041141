/**
 * The bench: hubserve beside what one would use otherwise, and beside the ceiling.
 *
 *     npm run bench [-- --quick] [--only LINE] [--model NAME_OR_FOLDER] [--dtype fp32|q8] [--threads N] [--rounds N]
 *                   [--seconds N] [--capacity N] [--hubserve CLI] [--json FILE]
 *
 * Runs of the contenders are interleaved, A B C A B C, so that a machine that slows down does so for all of them; what
 * is printed are medians over the rounds, and for ratios the median of each round's ratio. A line is rerun with
 * `--only` and its name, or a part of it. `scenarios.ts` says what is asked, `contenders.ts` who answers,
 * `overhead.ts` measures what needs no model.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { parseArgs } from "node:util";

import {
  CONTENDER_NAMES,
  endContenders,
  startContenders,
  type Contender,
  type ContenderName,
  type Dtype,
  type Setup,
} from "./contenders.ts";
import { medianOf } from "./latency.ts";
import { describeMachine } from "./machine.ts";
import { BENCH_MODELS, makeModel, type BenchModelName } from "./make-model.ts";
import { measureOverhead, measureStarts } from "./overhead.ts";
import { builtHubserve, compile, type Measurement } from "./programs.ts";
import { printMeasurements, printVerdict, type Line } from "./report.ts";
import {
  medianMeasurement,
  SCENARIOS,
  toArrivals,
  tokensPerCpuSecond,
  tokensPerSecond,
  type Scenario,
} from "./scenarios.ts";
import { makeTexts, readWords, type Text } from "./texts.ts";

const { values: flags } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    only: { type: "string", default: "" },
    model: { type: "string" },
    dtype: { type: "string" },
    threads: { type: "string", default: "1" },
    rounds: { type: "string" },
    seconds: { type: "string" },
    capacity: { type: "string" },
    hubserve: { type: "string" },
    json: { type: "string" },
  },
});

const rounds = Number(flags.rounds ?? (flags.quick ? 2 : 5));
const seconds = Number(flags.seconds ?? (flags.quick ? 1 : 4));
const patterns = flags.only.split(",");
const isWanted = (line: string): boolean => patterns.some((pattern) => line.includes(pattern));

/** Of each server, before anything is measured. */
const WARM_UP_SECONDS = 3;

/** Texts of a mix; more than a window can use up. */
const TEXTS = 2048;

interface Target {
  readonly name: string;
  readonly folder: string;
  readonly task: Setup["task"];
  readonly dtype: Dtype;
}

async function main(): Promise<void> {
  const hubserve =
    flags.hubserve === undefined
      ? await builtHubserve(() => console.log("Building hubserve"))
      : resolve(flags.hubserve);
  const files = {
    load: await compile("load"),
    "bare-loop": await compile("bare-loop"),
    "plain-route": await compile("plain-route"),
    "echo-route": await compile("echo-route"),
  };
  const machine = describeMachine(hubserve);
  const versions = Object.entries(machine.versions).map((entry) => entry.join(" "));
  console.log(
    `${machine.cpu}, ${machine.cores} cores${machine.quota === undefined ? "" : `, quota ${machine.quota}`}, ${machine.memoryGib} GiB`,
  );
  console.log(versions.join(", "));
  console.log(
    `${flags.threads} thread(s) per inference, ${rounds} interleaved rounds of ${seconds} s, medians; the load generator runs on the same machine`,
  );
  console.log(`Rerun a line: npm run bench -- ${flags.quick ? "--quick " : ""}--only LINE\n`);

  const lines: Line[] = [];
  for (const target of chooseTargets()) {
    const setup: Setup = {
      model: target.folder,
      task: target.task,
      dtype: target.dtype,
      threads: Number(flags.threads),
      hubserve,
      files,
    };
    lines.push(...(await runTarget(target, setup)));
    lines.push(
      ...(await measureStarts(setup, target.name, { isWanted, rounds: flags.quick ? 3 : 7 })),
    );
  }
  lines.push(...(await measureOverhead({ hubserve, files, seconds, rounds, isWanted })));
  if (flags.json !== undefined)
    writeFileSync(flags.json, JSON.stringify({ machine, flags, lines }, undefined, 2));
}

function chooseTargets(): Target[] {
  const chosen = flags.model;
  if (chosen === undefined) {
    const minilm = toTarget("minilm-l6", flags.dtype ?? "fp32");
    return flags.quick ? [minilm] : [minilm, toTarget("distilbert-base", flags.dtype ?? "q8")];
  }
  return [toTarget(chosen, flags.dtype ?? "fp32")];
}

/** @param model One of the bench's own, or a folder in transformers.js's layout. */
function toTarget(model: string, dtype: string): Target {
  if (dtype !== "fp32" && dtype !== "q8")
    throw new RangeError(`Cannot use --dtype ${dtype}: wanted fp32 or q8`);
  const isOwn = Object.hasOwn(BENCH_MODELS, model);
  const folder = isOwn
    ? makeModel(model as BenchModelName, (folder) => console.log(`Making ${folder}`))
    : resolve(model);
  const file = join(folder, "config.json");
  if (!existsSync(file)) throw new RangeError(`Cannot use --model ${model}: there is no "${file}"`);
  const config = JSON.parse(readFileSync(file, "utf8")) as { architectures?: string[] };
  const isClassifier = config.architectures?.[0]?.endsWith("ForSequenceClassification") === true;
  return {
    name: `${isOwn ? model : basename(folder)}/${dtype}`,
    folder,
    task: isClassifier ? "text-classification" : "feature-extraction",
    dtype,
  };
}

async function runTarget(target: Target, setup: Setup): Promise<Line[]> {
  const nameOf = (scenario: Scenario, who: ContenderName): string =>
    `${target.name}/${scenario.name}/${who}`;
  const scenarios = SCENARIOS[flags.quick ? "quick" : "full"].filter((scenario) =>
    CONTENDER_NAMES.some((who) => isWanted(nameOf(scenario, who))),
  );
  if (scenarios.length === 0) return [];

  const wanted = (who: ContenderName): boolean =>
    scenarios.some((scenario) => isWanted(nameOf(scenario, who)));
  const isOpen = scenarios.some(({ arrivals }) => arrivals.kind === "open");
  const needsCeiling = isOpen && flags.capacity === undefined;
  const contenders = await startContenders(
    setup,
    (who) => wanted(who) || (who === "ceiling" && needsCeiling),
    (who, why) => console.log(`Without ${who}: ${why}`),
  );
  const words = readWords(target.folder);
  const texts = new Map(
    [...new Set(scenarios.map(({ mix }) => mix))].map((mix) => [mix, makeTexts(mix, TEXTS, words)]),
  );
  const lines: Line[] = [];
  try {
    await warmUp(contenders, makeTexts("mixed", TEXTS, words));
    for (const scenario of scenarios) {
      const mixTexts = texts.get(scenario.mix) ?? [];
      const taking = contenders.filter(
        ({ name, isServer }) =>
          isWanted(nameOf(scenario, name)) && (isServer || scenario.arrivals.kind === "closed"),
      );
      if (taking.length === 0) continue;
      const capacity =
        scenario.arrivals.kind === "closed"
          ? NaN
          : Number(flags.capacity ?? (await capacityOf(contenders, mixTexts)));
      const runs = new Map<ContenderName, Measurement[]>(taking.map(({ name }) => [name, []]));
      for (let round = 0; round < rounds; round++) {
        for (const contender of taking) {
          const measurement = await contender.measure({
            texts: mixTexts,
            arrivals: toArrivals(scenario, capacity, round + 1),
            warmupSeconds: seconds / 5,
            seconds,
          });
          runs.get(contender.name)?.push(measurement);
        }
      }
      const found = taking.map(({ name }): Line => {
        const all = runs.get(name) ?? [];
        return { name: nameOf(scenario, name), ...medianMeasurement(all) };
      });
      const rate = Number.isNaN(capacity)
        ? ""
        : `, ${(capacity * (scenario.arrivals.kind === "open" ? scenario.arrivals.share : 0)).toFixed(1)} requests/s come (rerun with --capacity ${capacity.toFixed(1)})`;
      console.log(`${target.name}/${scenario.name}${rate}`);
      printMeasurements(found);
      printVerdicts(scenario, runs);
      console.log();
      lines.push(...found);
    }
  } finally {
    await endContenders(contenders);
  }
  return lines;
}

/** A server that has just started runs JavaScript that V8 has not compiled yet, which nobody meets for long. */
async function warmUp(contenders: readonly Contender[], texts: readonly Text[]): Promise<void> {
  const arrivals = { kind: "closed", concurrency: 32 } as const;
  const load = { texts, arrivals, warmupSeconds: 0, seconds: WARM_UP_SECONDS };
  for (const contender of contenders) if (contender.isServer) await contender.measure(load);
}

/** Requests per second that the ceiling does on these texts. */
async function capacityOf(
  contenders: readonly Contender[],
  texts: readonly Text[],
): Promise<number> {
  const ceiling = contenders.find(({ name }) => name === "ceiling");
  if (ceiling === undefined)
    throw new Error("Cannot choose a rate: there is no ceiling; name it with --capacity");
  const arrivals = { kind: "closed", concurrency: 32 } as const;
  const { requests, seconds: took } = await ceiling.measure({
    texts,
    arrivals,
    warmupSeconds: 0.2,
    seconds,
  });
  return requests / took;
}

/** How hubserve compares, and what issue 3 wants of it. */
function printVerdicts(
  { mix, arrivals }: Scenario,
  runs: ReadonlyMap<ContenderName, readonly Measurement[]>,
): void {
  const own = runs.get("hubserve");
  if (own === undefined || arrivals.kind === "open") return;
  const others: readonly (readonly [ContenderName, number | undefined])[] = [
    ["plain", mix === "mixed" && arrivals.concurrency === 32 ? 1.3 : undefined],
    ["ceiling", mix === "mixed" && arrivals.concurrency === 32 ? 0.9 : undefined],
    ["no-batching", 0.97],
  ];
  for (const [name, wanted] of others) {
    const other = runs.get(name);
    if (other === undefined || (name === "ceiling" && arrivals.concurrency === 1)) continue;
    const ratio = ratioOf(own, other, tokensPerSecond);
    const perCpu = ratioOf(own, other, tokensPerCpuSecond);
    printVerdict(`hubserve / ${name}`, ratio, {
      note: `tokens/s; per CPU-second ${perCpu.toFixed(2)}`,
      ...(wanted !== undefined && { atLeast: wanted }),
    });
  }
  const ceiling = runs.get("ceiling");
  if (arrivals.concurrency !== 1 || ceiling === undefined) return;
  for (const name of ["hubserve", "plain"] as const) {
    const overheads = (runs.get(name) ?? []).map(
      (run, i) => run.latencyMs.p50 - (ceiling[i]?.latencyMs.p50 ?? NaN),
    );
    printVerdict(`p50 of ${name} over the bare loop`, medianOf(overheads), {
      note: "ms",
      ...(name === "hubserve" && { atMost: 1 }),
    });
  }
}

function ratioOf(
  own: readonly Measurement[],
  other: readonly Measurement[],
  speedOf: (measurement: Measurement) => number | undefined,
): number {
  const ratios = own.map((run, i) => {
    const beside = other[i];
    return (speedOf(run) ?? NaN) / ((beside && speedOf(beside)) ?? NaN);
  });
  return medianOf(ratios);
}

await main();
