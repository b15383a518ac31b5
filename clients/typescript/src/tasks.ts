/**
 * What models do, told from their inputs and outputs, and how their answers become results: pure functions.
 *
 * The names are those of tritonpack's ensembles; a model made by hand that takes and gives the same works too.
 */

import type { Columns } from "./batching.js";
import { InvalidInputError, UnexpectedAnswerError } from "./errors.js";
import { type ModelLimits, specsInWords } from "./limits.js";
import type { DataOf, Datatype, Tensors } from "./tensors.js";
import { indexInText, textFromBytes } from "./texts.js";

/** A label that a classifier gives. */
export interface Label {
  readonly label: string;
  /** Its probability, or the model's score where the recipe says so. */
  readonly score: number;
}

/** Something found in a text. */
export interface Entity {
  /** The entity as it stands in the text. */
  readonly text: string;
  /** What it is. */
  readonly label: string;
  readonly score: number;
  /** `text.slice(start, end)` of the text that was sent is the entity. */
  readonly start: number;
  readonly end: number;
}

/** An answer found in a context. */
export interface Answer {
  /** As it stands in the context; empty where the context has none. */
  readonly text: string;
  readonly score: number;
  /** `context.slice(start, end)` is the answer. */
  readonly start: number;
  readonly end: number;
}

/** A token that may stand at a place. */
export interface Token {
  readonly token: string;
  /** In the model's vocabulary. */
  readonly tokenId: number;
  readonly score: number;
}

/** One thing that models do. */
export interface Task<R> {
  /** The client's method. */
  readonly verb: string;
  /** What it does, for errors. */
  readonly words: string;
  /** The inputs that a model of this task may have: one of these sets. */
  readonly inputs: readonly (readonly string[])[];
  /** Name and type of each output. */
  readonly outputs: Readonly<Record<string, Datatype>>;
  /** The outputs' dimensions, rows included; `counts` has two. */
  readonly rank: number;
  /** One row's result. `text` is what was sent, the context of a question. */
  readonly result: (outputs: Rows, text: string) => R;
}

/** One row of the outputs of a request. */
interface Rows {
  /** Elements of an output in this row. */
  of<D extends Datatype>(name: string, datatype: D): DataOf[D];
  /** The last dimension of an output. */
  width(name: string): number;
}

const PADDING = -1;
const TEXT = ["text"] as const;
const PAIR = ["text", "text_pair"] as const;
const SOUND = ["waveform"] as const;
const SPAN = { scores: "FP32", starts: "INT32", ends: "INT32" } as const;
const WORDS = { tokens: "BYTES", token_ids: "INT32", scores: "FP32" } as const;

export const EMBED: Task<Float32Array> = {
  verb: "embed",
  words: "turns rows into vectors",
  inputs: [TEXT, SOUND],
  outputs: { embedding: "FP32" },
  rank: 2,
  result: (row) => row.of("embedding", "FP32"),
};

export const CLASSIFY: Task<Label[]> = {
  verb: "classify",
  words: "classifies rows",
  inputs: [TEXT, PAIR, SOUND],
  outputs: { labels: "BYTES", scores: "FP32" },
  rank: 2,
  result: (row) => {
    const scores = row.of("scores", "FP32");
    return row
      .of("labels", "BYTES")
      .map((label, place) => ({ label: textFromBytes(label), score: at(scores, place) }));
  },
};

export const TAG: Task<Entity[]> = {
  verb: "tag",
  words: "finds entities",
  inputs: [TEXT],
  outputs: { entities: "BYTES", labels: "BYTES", ...SPAN, counts: "INT32" },
  rank: 2,
  result: (row, text) => {
    const labels = row.of("labels", "BYTES");
    return spans(row, "entities", text)
      .slice(0, at(row.of("counts", "INT32"), 0))
      .map((span, place) => ({ ...span, label: textFromBytes(labels[place] as Uint8Array) }));
  },
};

export const ANSWER: Task<Answer[]> = {
  verb: "answer",
  words: "answers questions",
  inputs: [["question", "context"]],
  outputs: { answers: "BYTES", ...SPAN },
  rank: 2,
  result: (row, context) => spans(row, "answers", context).filter((answer) => answer.start !== PADDING),
};

export const FILL_MASK: Task<Token[][]> = {
  verb: "fillMask",
  words: "fills masks",
  inputs: [TEXT],
  outputs: { ...WORDS, counts: "INT32" },
  rank: 3,
  result: (row) => {
    const every = tokens(row);
    const width = row.width("scores");
    return Array.from({ length: at(row.of("counts", "INT32"), 0) }, (_, mask) =>
      every.slice(mask * width, (mask + 1) * width),
    );
  },
};

export const NEXT_TOKENS: Task<Token[]> = {
  verb: "nextTokens",
  words: "foresees tokens",
  inputs: [TEXT],
  outputs: WORDS,
  rank: 2,
  result: tokens,
};

const TASKS: readonly Task<unknown>[] = [EMBED, CLASSIFY, TAG, ANSWER, FILL_MASK, NEXT_TOKENS];

function spans(row: Rows, name: string, text: string): Answer[] {
  const index = indexInText(text);
  const [scores, starts, ends] = [
    row.of("scores", "FP32"),
    row.of("starts", "INT32"),
    row.of("ends", "INT32"),
  ];
  const place = (codePoint: number) => (codePoint < 0 ? codePoint : index(codePoint));
  return row.of(name, "BYTES").map((found, number) => ({
    text: textFromBytes(found),
    score: at(scores, number),
    start: place(at(starts, number)),
    end: place(at(ends, number)),
  }));
}

function tokens(row: Rows): Token[] {
  const [ids, scores] = [row.of("token_ids", "INT32"), row.of("scores", "FP32")];
  return row.of("tokens", "BYTES").map((token, place) => ({
    token: textFromBytes(token),
    tokenId: at(ids, place),
    score: at(scores, place),
  }));
}

function at(numbers: Float32Array | Int32Array, place: number): number {
  return numbers[place] as number;
}

/** Whether a model of these limits does a task. */
export function does(task: Task<unknown>, limits: ModelLimits): boolean {
  const inputs = sorted(limits.inputs.map((spec) => spec.name));
  const outputs = limits.outputs.map((spec) => [spec.name, spec.datatype].join(" "));
  const wanted = Object.entries(task.outputs).map((output) => output.join(" "));
  return (
    task.inputs.some((names) => sorted(names) === inputs) &&
    limits.inputs.every((spec) => spec.datatype === (spec.name === "waveform" ? "FP32" : "BYTES")) &&
    sorted(outputs) === sorted(wanted) &&
    limits.maxBatchSize > 0
  );
}

function sorted(names: readonly string[]): string {
  return [...names].sort().join(", ");
}

/**
 * Refuse a model that doesn't do the task.
 *
 * @throws {InvalidInputError} says what the model does instead
 */
export function checkTask(task: Task<unknown>, limits: ModelLimits): void {
  if (does(task, limits)) {
    return;
  }
  const other = TASKS.find((one) => does(one, limits));
  throw new InvalidInputError(
    `the model isn't one that ${task.words}: it takes ${specsInWords(limits.inputs)} and gives ` +
      `${specsInWords(limits.outputs)}; max batch ${limits.maxBatchSize}`,
    {
      model: limits.model,
      hint: other ? `It ${other.words}: \`${other.verb}\`` : "`infer` sends raw tensors to any model",
    },
  );
}

/**
 * The results of a request's rows.
 *
 * @throws {UnexpectedAnswerError} the outputs aren't those of so many rows: they would go to the wrong ones
 */
export function resultsFrom<R>(
  task: Task<R>,
  outputs: Tensors,
  columns: Columns,
  batch: readonly number[],
  model: string,
): R[] {
  for (const [name, datatype] of Object.entries(task.outputs)) {
    checkOutput(name, datatype, name === "counts" ? 2 : task.rank, outputs, batch.length, model);
  }
  const sent = columns.context ?? columns.text;
  return batch.map((row, place) => {
    const text = sent?.[row];
    return task.result(rowOf(outputs, place, batch.length), typeof text === "string" ? text : "");
  });
}

function checkOutput(
  name: string,
  datatype: Datatype,
  rank: number,
  outputs: Tensors,
  rows: number,
  model: string,
): void {
  const tensor = outputs[name];
  if (tensor?.datatype !== datatype || tensor.shape.length !== rank || tensor.shape[0] !== rows) {
    const found = tensor ? `${tensor.datatype} [${tensor.shape.join(", ")}]` : "missing";
    const expected = [rows, ...new Array(rank - 1).fill("n")].join(", ");
    throw new UnexpectedAnswerError(`${name} should be ${datatype} [${expected}], and is ${found}`, {
      model,
    });
  }
}

function rowOf(outputs: Tensors, place: number, rows: number): Rows {
  return {
    of: <D extends Datatype>(name: string, _datatype: D) => {
      const data = outputs[name]?.data as Float32Array;
      const size = data.length / rows;
      const part = Array.isArray(data) ? data.slice(place * size, (place + 1) * size) : undefined;
      return (part ?? data.subarray(place * size, (place + 1) * size)) as unknown as DataOf[D];
    },
    width: (name) => outputs[name]?.shape.at(-1) ?? 0,
  };
}

/**
 * One score of a pair's labels.
 *
 * @param label which one, where the model has several
 * @throws {InvalidInputError} the model has several labels and none was named, or not the one that was
 */
export function scoreOf(labels: readonly Label[], label: string | undefined, model: string): number {
  const found = label === undefined ? labels : labels.filter((one) => one.label === label);
  const [only] = found;
  if (found.length === 1 && only !== undefined) {
    return only.score;
  }
  const names = labels.map((one) => `'${one.label}'`).join(", ");
  throw new InvalidInputError(
    label === undefined
      ? `the model has ${labels.length} labels: ${names}`
      : `the model has no label '${label}': ${names}`,
    { model, hint: "Name one of them: {label}" },
  );
}
