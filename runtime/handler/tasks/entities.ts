/**
 * From labelled tokens to entities: the aggregation of Python's `TokenClassificationPipeline` (transformers 4.57 and 5.18).
 *
 * Python knows the prefixes `B-` and `I-`. Here `S-` and `U-` (a single token) count as `B-`, `E-` and `L-` (the last one)
 * as `I-`, where the model's labels show that they are prefixes; Python would make an entity of its own of each.
 * `word` is decoded once of all an entity's tokens; Python's word strategies decode it twice, which costs SentencePiece its
 * spaces. Letters: `T` tokens, `L` labels.
 */

export type Strategy = "none" | "simple" | "first" | "average" | "max";

/** A token of the text, special ones left out. */
export interface ScoredToken {
  /** The probabilities of its labels: `[L]`. */
  readonly scores: Float64Array;
  /** As the vocabulary has it; an unknown one as the text has it. */
  readonly word: string;
  /** Code points of the text. */
  readonly start: number;
  readonly end: number;
  /** Its place in what the model read, special tokens included. */
  readonly index: number;
  /** Whether it goes on with the word of the token before it. */
  readonly isSubword: boolean;
}

/** Consecutive tokens with a label: one token, a word, or an entity. */
export interface Entity {
  readonly label: string;
  readonly score: number;
  readonly tokens: readonly ScoredToken[];
  readonly start: number;
  readonly end: number;
}

/** The label of every token by itself: strategy `none`. */
export function labelTokens(tokens: readonly ScoredToken[], labels: readonly string[]): Entity[] {
  return tokens.map((token) => labelWord([token], labels, "simple"));
}

/**
 * Groups tokens into entities; what lies between them becomes an entity `O`.
 *
 * @returns Entities whose label has no prefix any more.
 */
export function groupTokens(
  tokens: readonly ScoredToken[],
  labels: readonly string[],
  strategy: Exclude<Strategy, "none">,
): Entity[] {
  const units = strategy === "simple" ? tokens.map((token) => [token]) : joinSubwords(tokens);
  const readTag = tagReader(labels);
  const groups: { readonly tag: string; readonly members: Entity[] }[] = [];
  for (const unit of units) {
    const word = labelWord(unit, labels, strategy);
    const { isBeginning, tag } = readTag(word.label);
    const last = groups.at(-1);
    if (last === undefined || isBeginning || last.tag !== tag)
      groups.push({ tag, members: [word] });
    else last.members.push(word);
  }
  return groups.map(({ members }) => joinEntity(members));
}

function joinEntity(members: readonly Entity[]): Entity {
  const tokens = members.flatMap((member) => member.tokens);
  return {
    label: withoutPrefix(members[0]?.label ?? ""),
    score: members.reduce((sum, { score }) => sum + score, 0) / members.length,
    tokens,
    start: tokens[0]?.start ?? 0,
    end: tokens.at(-1)?.end ?? 0,
  };
}

/** Python's way: all before the first hyphen, whatever it is. */
function withoutPrefix(label: string): string {
  return label.slice(label.indexOf("-") + 1);
}

function joinSubwords(tokens: readonly ScoredToken[]): ScoredToken[][] {
  const words: ScoredToken[][] = [];
  for (const token of tokens) {
    const last = words.at(-1);
    if (last !== undefined && token.isSubword) last.push(token);
    else words.push([token]);
  }
  return words;
}

/** One label for all tokens of a word. */
function labelWord(
  tokens: readonly ScoredToken[],
  labels: readonly string[],
  strategy: Exclude<Strategy, "none">,
): Entity {
  const scores = scoresOfWord(tokens, strategy);
  const best = argmax(scores);
  return {
    label: labels[best] ?? `LABEL_${best}`,
    score: scores[best] ?? 0,
    tokens,
    start: tokens[0]?.start ?? 0,
    end: tokens.at(-1)?.end ?? 0,
  };
}

function scoresOfWord(
  tokens: readonly ScoredToken[],
  strategy: Exclude<Strategy, "none">,
): Float64Array {
  const rows = tokens.map(({ scores }) => scores);
  const [first = new Float64Array()] = rows;
  switch (strategy) {
    case "simple": // words of one token
    case "first":
      return first;
    case "max":
      return rows.reduce((best, row) => (Math.max(...row) > Math.max(...best) ? row : best), first);
    case "average":
      return first.map(
        (_, label) => rows.reduce((sum, row) => sum + (row[label] ?? 0), 0) / rows.length,
      );
  }
}

/** The first of the largest. */
function argmax(values: Float64Array): number {
  return values.reduce(
    (best, value, index) => (value > (values[best] ?? -Infinity) ? index : best),
    0,
  );
}

interface Tag {
  /** Whether it begins an entity though the one before it is of the same kind. */
  readonly isBeginning: boolean;
  readonly tag: string;
}

/** What the prefixes of these labels mean. */
function tagReader(labels: readonly string[]): (label: string) => Tag {
  const known = new Set(labels);
  return (label) => {
    const [, prefix = "", tag = ""] = /^([BIESLU])-(.*)$/s.exec(label) ?? [];
    const isPrefix = prefix === "B" || prefix === "I" || known.has(`B-${tag}`);
    if (prefix === "" || !isPrefix) return { isBeginning: false, tag: label };
    return { isBeginning: "BSU".includes(prefix), tag };
  };
}

/**
 * Entities of windows that overlap, as one list: of those that overlap each other the longest stays, of equally long ones the
 * surest. Python's `aggregate_overlapping_entities`.
 */
export function mergeOverlapping(entities: readonly Entity[]): Entity[] {
  const merged: Entity[] = [];
  for (const entity of entities.toSorted((a, b) => a.start - b.start)) {
    const last = merged.at(-1);
    if (last === undefined || entity.start >= last.end) {
      merged.push(entity);
      continue;
    }
    const gain = entity.end - entity.start - (last.end - last.start);
    if (gain > 0 || (gain === 0 && entity.score > last.score)) merged[merged.length - 1] = entity;
  }
  return merged;
}
