import { describe, expect, test } from "vitest";
import { columnsFromRows, type Row } from "../src/batching.js";
import { InvalidInputError, UnexpectedAnswerError } from "../src/errors.js";
import type { ModelLimits } from "../src/limits.js";
import {
  ANSWER,
  CLASSIFY,
  checkTask,
  EMBED,
  FILL_MASK,
  NEXT_TOKENS,
  resultsFrom,
  scoreOf,
  TAG,
  type Task,
} from "../src/tasks.js";
import type { Tensor, Tensors } from "../src/tensors.js";
import { ANSWERS, ENTITIES, HASH, LABELLED, MASKS, NEXT, PAIRS, SOUNDS } from "./models.js";

function bytes(shape: number[], ...items: string[]): Tensor {
  return { datatype: "BYTES", shape, data: items.map((item) => Buffer.from(item)) };
}

function fp32(shape: number[], ...data: number[]): Tensor {
  return { datatype: "FP32", shape, data: Float32Array.from(data) };
}

function int32(shape: number[], ...data: number[]): Tensor {
  return { datatype: "INT32", shape, data: Int32Array.from(data) };
}

function results<R>(task: Task<R>, limits: ModelLimits, rows: Row[], outputs: Tensors): R[] {
  checkTask(task, limits);
  const batch = rows.map((_, row) => row);
  return resultsFrom(task, outputs, columnsFromRows(limits, rows), batch, limits.model);
}

const TASKS: Record<string, [Task<unknown>, ModelLimits[]]> = {
  embed: [EMBED, [HASH, SOUNDS]],
  classify: [CLASSIFY, [LABELLED, PAIRS]],
  tag: [TAG, [ENTITIES]],
  answer: [ANSWER, [ANSWERS]],
  fillMask: [FILL_MASK, [MASKS]],
  nextTokens: [NEXT_TOKENS, [NEXT]],
};

describe.each(Object.entries(TASKS))("%s", (_, [task, own]) => {
  test.each([HASH, SOUNDS, LABELLED, PAIRS, ENTITIES, ANSWERS, MASKS])("with model $model", (limits) => {
    if (own.includes(limits)) {
      checkTask(task, limits);
    } else {
      expect(() => checkTask(task, limits)).toThrow(InvalidInputError);
    }
  });

  test("needs a batch dimension", () => {
    expect(() => checkTask(task, { ...(own[0] as ModelLimits), maxBatchSize: 0 })).toThrow(/max batch 0/);
  });
});

test("an error says what the model does instead", () => {
  expect(() => checkTask(EMBED, LABELLED)).toThrow(
    /gives labels BYTES \[-1\].*It classifies rows: `classify`/,
  );
});

test("vectors", () => {
  const outputs = { embedding: fp32([2, 3], 1, 2, 3, 4, 5, 6) };
  expect(results(EMBED, HASH, ["a", "b"], outputs)).toEqual([
    Float32Array.of(1, 2, 3),
    Float32Array.of(4, 5, 6),
  ]);
});

test("labels", () => {
  const outputs = {
    labels: bytes([2, 2], "good", "bad", "bad", "good"),
    scores: fp32([2, 2], 0.75, 0.25, 1, 0),
  };
  expect(results(CLASSIFY, LABELLED, ["a", "b"], outputs)).toEqual([
    [
      { label: "good", score: 0.75 },
      { label: "bad", score: 0.25 },
    ],
    [
      { label: "bad", score: 1 },
      { label: "good", score: 0 },
    ],
  ]);
});

test("entities, without what fills them up, in indices of the string", () => {
  const text = "👩 Anna";
  const outputs = {
    entities: bytes([2, 2], "Anna", "", "", ""),
    labels: bytes([2, 2], "PER", "", "", ""),
    scores: fp32([2, 2], 0.5, 0, 0, 0),
    starts: int32([2, 2], 2, -1, -1, -1),
    ends: int32([2, 2], 6, -1, -1, -1),
    counts: int32([2, 1], 1, 0),
  };
  const [[entity] = [], none] = results(TAG, ENTITIES, [text, "nobody"], outputs);
  expect(entity).toEqual({ text: "Anna", label: "PER", score: 0.5, start: 3, end: 7 });
  expect(text.slice(entity?.start, entity?.end)).toBe("Anna");
  expect(none).toEqual([]);
});

test("answers, of the context, without fillers; an empty one stays", () => {
  const context = "𝒳 because";
  const outputs = {
    answers: bytes([1, 3], "because", "", ""),
    scores: fp32([1, 3], 0.5, 0.25, 0),
    starts: int32([1, 3], 2, 0, -1),
    ends: int32([1, 3], 9, 0, -1),
  };
  const [answers = []] = results(ANSWER, ANSWERS, [["why 👩", context]], outputs);
  expect(answers).toEqual([
    { text: "because", score: 0.5, start: 3, end: 10 },
    { text: "", score: 0.25, start: 0, end: 0 },
  ]);
});

test("masks that are there", () => {
  const outputs = {
    tokens: bytes([1, 2, 2], "a", "b", "", ""),
    token_ids: int32([1, 2, 2], 7, 8, 0, 0),
    scores: fp32([1, 2, 2], 0.5, 0.25, 0, 0),
    counts: int32([1, 1], 1),
  };
  expect(results(FILL_MASK, MASKS, ["[MASK]"], outputs)).toEqual([
    [
      [
        { token: "a", tokenId: 7, score: 0.5 },
        { token: "b", tokenId: 8, score: 0.25 },
      ],
    ],
  ]);
});

test("next tokens", () => {
  const outputs = { tokens: bytes([1, 1], " a"), token_ids: int32([1, 1], 7), scores: fp32([1, 1], 0.5) };
  expect(results(NEXT_TOKENS, NEXT, ["so"], outputs)).toEqual([[{ token: " a", tokenId: 7, score: 0.5 }]]);
});

test.each<[string, Tensors]>([
  ["missing", {}],
  ["too few", { embedding: fp32([1, 3], 1, 2, 3) }],
  ["flat", { embedding: fp32([2], 1, 2) }],
  ["of another type", { embedding: int32([2, 1], 1, 2) }],
])("an answer that is %s goes to nobody", (_, outputs) => {
  expect(() => results(EMBED, HASH, ["a", "b"], outputs)).toThrow(UnexpectedAnswerError);
});

test("one score of a pair", () => {
  const labels = [
    { label: "same", score: 0.75 },
    { label: "other", score: 0.25 },
  ];
  expect(scoreOf(labels, "other", "pairs")).toBe(0.25);
  expect(scoreOf(labels.slice(0, 1), undefined, "pairs")).toBe(0.75);
  expect(() => scoreOf(labels, undefined, "pairs")).toThrow(/2 labels: 'same', 'other'/);
  expect(() => scoreOf(labels, "nosuch", "pairs")).toThrow(/no label 'nosuch'/);
});
