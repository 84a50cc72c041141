/**
 * Counters, gauges and histograms in the text format of Prometheus (exposition format 0.0.4).
 *
 * Own code, as the library for it brings 5 MB of tracing interfaces and trees for a page of text. A metric's labels are named once, and
 * its values are looked up once, by whoever records often: `counter.at("model-a")` costs, `add()` on the result does not.
 */

/** One series: a metric with values for its labels. */
export interface Counter {
  add(amount?: number): void;
}

export interface Histogram {
  observe(value: number): void;
}

/** A metric whose series differ in their labels' values. */
export interface Family<S> {
  /** @param values One for each label, in their order. */
  at(...values: readonly string[]): S;
}

/** A value that is asked for when somebody looks. */
export interface GaugeSample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Registry {
  counter(name: string, help: string, labels?: readonly string[]): Family<Counter>;
  /** @param bounds Upper bounds of the buckets, ascending; `+Inf` is added. */
  histogram(
    name: string,
    help: string,
    bounds: readonly number[],
    labels?: readonly string[],
  ): Family<Histogram>;
  gauge(
    name: string,
    help: string,
    read: () => readonly GaugeSample[],
    options?: ReadOptions,
  ): void;
  /** Those that follow belong together, in the page that documents them. */
  chapter(title: string): void;
  /** What has been declared so far, in its order. */
  readonly declarations: readonly Declaration[];
  /** The page. */
  render(): string;
}

export interface ReadOptions {
  /** The names of its labels, for the page that documents it. */
  readonly labels?: readonly string[];
  /** A counter where the value never falls, except when the process begins anew. */
  readonly type?: "gauge" | "counter";
}

/** A metric, as people read of it. */
export interface Declaration {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly labels: readonly string[];
  readonly chapter: string;
}

/** A metric's series beyond this are one series `…`: labels come from configuration, and still nobody may fill memory with them. */
const MOST_SERIES = 1000;

interface Metric {
  readonly lines: () => readonly string[];
}

export function createRegistry(): Registry {
  const metrics: Metric[] = [];
  const declarations: Declaration[] = [];
  let chapter = "";

  function enter(
    { name, type, help, labels }: Omit<Declaration, "chapter">,
    lines: () => readonly string[],
  ): void {
    declarations.push({ name, type, help, labels, chapter });
    metrics.push({ lines: () => [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...lines()] });
  }

  return {
    declarations,
    chapter: (title) => void (chapter = title),

    counter(name, help, labels = []) {
      const series = createSeries(labels, () => ({ total: 0 }));
      enter({ name, type: "counter", help, labels }, () =>
        series.all().map(([text, { total }]) => `${name}${braces(text)} ${total}`),
      );
      return {
        at(...values) {
          const state = series.at(values);
          return { add: (amount = 1) => void (state.total += amount) };
        },
      };
    },

    histogram(name, help, bounds, labels = []) {
      const series = createSeries(labels, () => ({
        counts: new Float64Array(bounds.length + 1),
        sum: 0,
      }));
      enter({ name, type: "histogram", help, labels }, () =>
        series.all().flatMap(([text, { counts, sum }]) => {
          const lead = text === "" ? "" : `${text},`;
          let total = 0;
          const buckets = [...bounds.map(String), "+Inf"].map((bound, index) => {
            total += counts[index] ?? 0;
            return `${name}_bucket{${lead}le="${bound}"} ${total}`;
          });
          return [
            ...buckets,
            `${name}_sum${braces(text)} ${sum}`,
            `${name}_count${braces(text)} ${total}`,
          ];
        }),
      );
      return {
        at(...values) {
          const state = series.at(values);
          return {
            observe(value) {
              let bucket = 0;
              while (bucket < bounds.length && value > (bounds[bucket] ?? Infinity)) bucket++;
              state.counts[bucket] = (state.counts[bucket] ?? 0) + 1;
              state.sum += value;
            },
          };
        },
      };
    },

    gauge(name, help, read, { labels = [], type = "gauge" } = {}) {
      enter({ name, type, help, labels }, () =>
        read().map(({ labels: own, value }) => {
          const text = Object.entries(own).map(([label, each]) => labelText(label, each));
          return `${name}${braces(text.join(","))} ${value}`;
        }),
      );
    },

    render: () => `${metrics.flatMap(({ lines }) => lines()).join("\n")}\n`,
  };
}

interface Series<S> {
  at(values: readonly string[]): S;
  all(): readonly (readonly [labels: string, state: S])[];
}

function createSeries<S>(labels: readonly string[], create: () => S): Series<S> {
  const states = new Map<string, S>();
  const textOf = (values: readonly string[]): string =>
    labels.map((label, index) => labelText(label, values[index] ?? "")).join(",");
  // A metric without labels is there from the beginning: a rate needs its zero.
  if (labels.length === 0) states.set("", create());
  return {
    at(values) {
      let text = textOf(values);
      if (!states.has(text) && states.size >= MOST_SERIES) text = textOf(labels.map(() => "…"));
      let state = states.get(text);
      if (state === undefined) states.set(text, (state = create()));
      return state;
    },
    all: () => [...states],
  };
}

function labelText(label: string, value: string): string {
  const escaped = value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
  return `${label}="${escaped}"`;
}

function braces(text: string): string {
  return text === "" ? "" : `{${text}}`;
}
