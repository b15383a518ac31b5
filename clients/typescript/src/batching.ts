/** How many rows become few requests, and how the results find their way back: pure functions. */

import { InputTypeError, InvalidInputError } from "./errors.js";
import type { ModelLimits } from "./limits.js";
import type { TensorInput } from "./tensors.js";
import { checkText } from "./texts.js";

/** Two texts that are one row: text and text_pair, or question and context. */
export type Pair = readonly [first: string, second: string];

/** A text, a pair of texts or a sound, as the model takes it. */
export type Row = string | Pair | Float32Array;

/** Of each input its rows. */
export type Columns = Readonly<Record<string, readonly (string | Float32Array)[]>>;

/**
 * Check rows and deal them out to a model's inputs.
 *
 * @param first the number of the first row, for errors
 * @throws {InputTypeError} `rows` is one text, or a row isn't what the model takes
 * @throws {InvalidInputError} a text can't be encoded
 */
export function columnsFromRows(limits: ModelLimits, rows: Iterable<Row>, first = 0): Columns {
  if (typeof rows === "string" || typeof rows?.[Symbol.iterator] !== "function") {
    throw new InputTypeError(`the rows are one ${typeof rows}, not a list`, {
      model: limits.model,
      hint: "Pass [text]",
    });
  }
  const names = limits.inputs.map((spec) => spec.name);
  const [name = "text"] = names;
  if (name === "waveform") {
    return { waveform: Array.from(rows, (row, place) => checkedSound(row, first + place, limits)) };
  }
  if (names.length === 1) {
    return { [name]: Array.from(rows, (row, place) => checkedText("texts", row, first + place, limits)) };
  }
  // A model may list its inputs in any order; callers pass them in this one.
  const ordered = names.includes("question") ? ["question", "context"] : ["text", "text_pair"];
  const pairs = Array.from(rows, (row, place) => checkedPair(row, first + place, limits));
  return Object.fromEntries(
    ordered.map((column, side) => [
      column,
      pairs.map((pair, place) => checkedText(column, pair[side], first + place, limits)),
    ]),
  );
}

function checkedText(where: string, row: unknown, place: number, { model }: ModelLimits): string {
  checkText(`${where}[${place}]`, row, model);
  return row;
}

function checkedPair(row: unknown, place: number, limits: ModelLimits): readonly unknown[] {
  if (Array.isArray(row) && row.length === 2) {
    return row;
  }
  const names = limits.inputs.map((spec) => spec.name).join(", ");
  throw new InputTypeError(
    `row ${place} is ${typeof row}, not a pair; the model takes two texts a row (${names})`,
    {
      model: limits.model,
      hint: "Pass [[first, second], ...]",
    },
  );
}

function checkedSound(row: unknown, place: number, { model }: ModelLimits): Float32Array {
  if (!(row instanceof Float32Array)) {
    throw new InputTypeError(`row ${place} is ${typeof row}, not a Float32Array of samples`, { model });
  }
  if (row.length === 0) {
    throw new InvalidInputError(`row ${place} is an empty sound; a sound has one sample at least`, { model });
  }
  return row;
}

/** How many rows there are. */
export function countRows(columns: Columns): number {
  return Object.values(columns)[0]?.length ?? 0;
}

/** The rows of each request; sounds of one request have one length, since their array has. */
export function batchesOfColumns(columns: Columns, maxBatchSize: number): number[][] {
  const lengths = Array.from({ length: countRows(columns) }, (_, row) =>
    Object.values(columns).reduce((sum, column) => sum + (column[row] as string | Float32Array).length, 0),
  );
  if (!("waveform" in columns)) {
    return planBatches(lengths, maxBatchSize);
  }
  const groups = new Map<number, number[]>();
  lengths.forEach((length, row) => {
    groups.set(length, [...(groups.get(length) ?? []), row]);
  });
  return [...groups.entries()].sort(([a], [b]) => b - a).flatMap(([, group]) => slices(group, maxBatchSize));
}

/**
 * Share rows out among requests; rows of similar length go together, the longest first.
 *
 * A server pads each batch to its longest row, so mixed lengths waste its time; long batches take longest and go out
 * first, so that none of them is the last to finish.
 *
 * @param lengths of each row, in any unit that grows with the work
 * @param maxBatchSize the most rows of one request, at least 1
 * @returns positions in `lengths`, each exactly once, in groups of at most `maxBatchSize`
 */
export function planBatches(lengths: readonly number[], maxBatchSize: number): number[][] {
  const order = lengths.map((_, row) => row);
  order.sort((a, b) => (lengths[b] as number) - (lengths[a] as number) || a - b);
  return slices(order, maxBatchSize);
}

function slices<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, part) =>
    items.slice(part * size, (part + 1) * size),
  );
}

/** The inputs of one request: (batch, 1) BYTES, or (batch, samples) FP32. */
export function inputsFromRows(columns: Columns, batch: readonly number[]): Record<string, TensorInput> {
  return Object.fromEntries(
    Object.entries(columns).map(([name, rows]) => {
      const chosen = batch.map((row) => rows[row]);
      return [name, name === "waveform" ? stacked(chosen as Float32Array[]) : texts(chosen as string[])];
    }),
  );
}

function texts(data: readonly string[]): TensorInput {
  return { data, shape: [data.length, 1] };
}

function stacked(sounds: readonly Float32Array[]): TensorInput {
  const samples = sounds[0]?.length ?? 0;
  const data = new Float32Array(sounds.length * samples);
  for (const [row, sound] of sounds.entries()) {
    data.set(sound, row * samples);
  }
  return { data, shape: [sounds.length, samples] };
}

/** Put the results of every request where their rows stood. */
export function inOrder<T>(
  batches: readonly number[][],
  results: readonly (readonly T[])[],
  count: number,
): T[] {
  const placed = new Array<T>(count);
  for (const [part, batch] of batches.entries()) {
    for (const [place, row] of batch.entries()) {
      placed[row] = results[part]?.[place] as T;
    }
  }
  return placed;
}
