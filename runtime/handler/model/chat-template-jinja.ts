/**
 * Runs Jinja: the package's interpreter, within limits, and mended where it prints other text than Python's.
 *
 * A template can loop, or make a long text a far longer one, so every step is counted. Mended are the tags that mark what a model is
 * trained on, `strip` with characters, and booleans as text (`@huggingface/jinja` 0.5.11, Jinja 3.1). To mend more: `BoundedInterpreter`,
 * which every step goes through.
 */
import * as jinja from "@huggingface/jinja";

/** What is used of the package. Its own types name files without endings, which Node's way to find types does not find. */
interface Jinja {
  readonly tokenize: (
    source: string,
    options: { readonly lstrip_blocks: boolean; readonly trim_blocks: boolean },
  ) => readonly Word[];
  readonly parse: (words: readonly Word[]) => unknown;
  readonly Environment: new () => Scope;
  readonly Interpreter: new (scope: Scope) => JinjaInterpreter;
}
interface Word {
  readonly type: string;
  readonly value: string;
}
interface Scope {
  set(name: string, value: unknown): unknown;
}
interface Value {
  readonly type: string;
  readonly value: unknown;
}
interface JinjaInterpreter {
  run(program: unknown): Value;
  /** Every step of a run comes here, also those that other steps take. */
  evaluate(node: unknown, scope: Scope): Value;
}
const { tokenize, parse, Environment, Interpreter }: Jinja = jinja;

/** The longest text that a step may make, in characters: what the model with the longest context reads, and more. */
const MAX_TEXT_CHARACTERS = 8_000_000;
/** Steps that one text may take; thousands of messages take the longest template on the Hub fewer. */
const MAX_STEPS = 2_000_000;
/** An element that a loop walks counts as so many: each gets variables of its own, before the first is looked at. */
const STEPS_PER_ELEMENT = 20;
/** The longest list that a template may count. */
const MAX_RANGE = 100_000;
/** Making so many characters counts as one step. */
const CHARACTERS_PER_STEP = 256;

export class LimitReached extends Error {}

export interface Template {
  /** Whether one of its words is this name, outside comments. */
  readonly names: (name: string) => boolean;
  /** Whether one of its words is this text in quotes. */
  readonly quotes: (text: string) => boolean;
  /** @throws LimitReached, or Error for whatever is wrong with the template or its variables. */
  readonly run: (variables: Readonly<Record<string, unknown>>) => string;
}

/** @throws Error when it is no template. */
export function parseTemplate(source: string): Template {
  const words = tokenize(withoutMarks(source), { lstrip_blocks: true, trim_blocks: true });
  const program = parse(words);
  const has = (kind: string, text: string): boolean =>
    words.some(({ type, value }) => type === kind && value === text);
  return {
    names: (name) => has("Identifier", name),
    quotes: (text) => has("StringLiteral", text),
    run(variables) {
      const scope = new Environment();
      const all = { ...variables, ...CONSTANTS, range: boundedRange };
      for (const [name, value] of Object.entries(all)) scope.set(name, value);
      const { value } = new BoundedInterpreter(scope).run(program);
      if (typeof value !== "string") throw new TypeError("its result is not a text");
      return value;
    },
  };
}

/**
 * `{% generation %}` marks what a model is trained on and prints what stands in it. The package takes the tags out of the source, with them
 * the end of what the tags around them strip; a condition that holds keeps spaces as they are.
 */
function withoutMarks(source: string): string {
  return source
    .replace(/\{%([-+]?)\s*generation\s*([-+]?)%\}/g, "{%$1 if true $2%}")
    .replace(/\{%([-+]?)\s*endgeneration\s*([-+]?)%\}/g, "{%$1 endif $2%}");
}

const CONSTANTS = { true: true, false: false, none: null, True: true, False: false, None: null };

class BoundedInterpreter extends Interpreter {
  private steps = 0;
  /** Nodes whose value a loop walks: each element costs, also where nothing is done with it. */
  private readonly walked = new Set<unknown>();

  override evaluate(node: unknown, scope: Scope): Value {
    if (isNode(node, "For")) this.walked.add(listOf(node));
    const result = this.strip(node, scope) ?? super.evaluate(node, scope);
    this.steps += this.walked.has(node) ? 1 + STEPS_PER_ELEMENT * lengthOf(result) : 1;
    if (typeof result.value === "string") {
      if (result.value.length > MAX_TEXT_CHARACTERS)
        throw new LimitReached(`they make a text of more than ${MAX_TEXT_CHARACTERS} characters`);
      this.steps += result.value.length / CHARACTERS_PER_STEP;
    } else if (result.type === "BooleanValue") {
      result.toString = () => (result.value === true ? "True" : "False");
    }
    if (this.steps > MAX_STEPS)
      throw new LimitReached("the model's chat template takes too many steps for them");
    return result;
  }

  /** `text.strip("\n")`: the package strips every space, whatever is asked for. */
  private strip(node: unknown, scope: Scope): Value | undefined {
    const call = toStripCall(node);
    if (call === undefined) return undefined;
    const text = this.evaluate(call.object, scope);
    const characters = this.evaluate(call.characters, scope);
    if (typeof text.value !== "string" || typeof characters.value !== "string") return undefined;
    return this.textOf(stripped(text.value, characters.value, call.method), scope);
  }

  /** A text as the interpreter has texts. */
  private textOf(value: string, scope: Scope): Value {
    return super.evaluate({ type: "StringLiteral", value }, scope);
  }
}

/** What a loop walks, without the condition that may stand behind it. */
function listOf({ iterable }: JinjaNode): unknown {
  return isNode(iterable, "SelectExpression") ? iterable["lhs"] : iterable;
}

function lengthOf({ value }: Value): number {
  if (Array.isArray(value)) return value.length;
  return value instanceof Map ? value.size : 0;
}

type StripMethod = "strip" | "lstrip" | "rstrip";

interface StripCall {
  readonly object: unknown;
  readonly method: StripMethod;
  readonly characters: unknown;
}

/** A call of `strip` or its like with one argument. */
function toStripCall(node: unknown): StripCall | undefined {
  if (!isNode(node, "CallExpression") || !isNode(node["callee"], "MemberExpression"))
    return undefined;
  const { args, callee } = node;
  const { property, computed, object } = callee;
  if (computed === true || !isNode(property, "Identifier")) return undefined;
  const { value: method } = property;
  if (method !== "strip" && method !== "lstrip" && method !== "rstrip") return undefined;
  const [characters]: readonly unknown[] = Array.isArray(args) && args.length === 1 ? args : [];
  return characters === undefined ? undefined : { object, method, characters };
}

type JinjaNode = Readonly<Record<string, unknown>>;

function isNode(value: unknown, type: string): value is JinjaNode {
  return typeof value === "object" && value !== null && "type" in value && value.type === type;
}

/** Python's: of the ends, every character that is one of these. */
function stripped(text: string, characters: string, method: StripMethod): string {
  const unwanted = new Set(characters);
  const points = Array.from(text);
  let start = 0;
  let end = points.length;
  const isUnwanted = (index: number): boolean => unwanted.has(points[index] ?? "");
  if (method !== "rstrip") while (start < end && isUnwanted(start)) start++;
  if (method !== "lstrip") while (end > start && isUnwanted(end - 1)) end--;
  return points.slice(start, end).join("");
}

/** Python's, with a bound: a list is made at once, in a single step. */
function boundedRange(first: unknown, second?: unknown, third: unknown = 1): number[] {
  const [start, stop] = second === undefined ? [0, first] : [first, second];
  const step = Number(third);
  const from = Number(start);
  const length = Math.max(0, Math.ceil((Number(stop) - from) / step));
  if (!Number.isSafeInteger(length) || !Number.isInteger(from) || !Number.isInteger(step))
    throw new TypeError("range() wants whole numbers and a step that is not 0");
  if (length > MAX_RANGE) throw new LimitReached("the model's chat template counts too far");
  return Array.from({ length }, (_, index) => from + index * step);
}
