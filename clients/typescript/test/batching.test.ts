import fc from "fast-check";
import { expect, test } from "vitest";
import {
  batchesOfColumns,
  columnsFromRows,
  inOrder,
  inputsFromRows,
  planBatches,
  type Row,
} from "../src/batching.js";
import { InputTypeError, InvalidInputError } from "../src/errors.js";
import { ANSWERS, HASH, PAIRS, SOUNDS } from "./models.js";

const LENGTHS = fc.array(fc.nat(50));
const MAXIMUM = fc.integer({ min: 1, max: 7 });

test("every row is in one request, none is too large, the longest go first", () => {
  fc.assert(
    fc.property(LENGTHS, MAXIMUM, (lengths, maximum) => {
      const batches = planBatches(lengths, maximum);
      expect(batches.flat().sort((a, b) => a - b)).toEqual(lengths.map((_, row) => row));
      expect(batches.every((batch) => batch.length >= 1 && batch.length <= maximum)).toBe(true);
      expect(batches.slice(0, -1).every((batch) => batch.length === maximum)).toBe(true);
      const sorted = batches.flat().map((row) => lengths[row] as number);
      expect(sorted).toEqual([...sorted].sort((a, b) => b - a));
    }),
  );
});

test("results come back where their rows stood", () => {
  fc.assert(
    fc.property(LENGTHS, MAXIMUM, (lengths, maximum) => {
      const batches = planBatches(lengths, maximum);
      const results = batches.map((batch) => batch.map((row) => `${row}: ${lengths[row]}`));
      expect(inOrder(batches, results, lengths.length)).toEqual(
        lengths.map((length, row) => `${row}: ${length}`),
      );
    }),
  );
});

test("a generator is as good as a list", () => {
  expect(columnsFromRows(HASH, new Set(["a", "é"]))).toEqual({ text: ["a", "é"] });
});

test("pairs go to the inputs in the order of the task, not of the configuration", () => {
  const swapped = { ...PAIRS, inputs: [...PAIRS.inputs].reverse() };
  expect(columnsFromRows(swapped, [["a", "b"]])).toEqual({ text: ["a"], text_pair: ["b"] });
  expect(columnsFromRows(ANSWERS, [["why", "because"]])).toEqual({ question: ["why"], context: ["because"] });
});

test.each<[string, unknown, RegExp]>([
  ["one text", "abc", /one string, not a list/],
  ["nothing", undefined, /one undefined, not a list/],
  ["a number", ["fine", 3], /texts\[11\] is number, not a string/],
  ["null", [null], /texts\[10\] is null/],
  ["a pair", [["a", "b"]], /texts\[10\] is object/],
])("%s isn't a list of texts", (_, rows, words) => {
  expect(() => columnsFromRows(HASH, rows as Row[], 10)).toThrow(InputTypeError);
  expect(() => columnsFromRows(HASH, rows as Row[], 10)).toThrow(words);
});

test.each<[unknown]>([["ab"], [["a"]], [["a", "b", "c"]], [["a", 7]]])("%j is no pair", (row) => {
  expect(() => columnsFromRows(PAIRS, [row as Row])).toThrow(InputTypeError);
});

test("a lone surrogate is named by its place", () => {
  expect(() => columnsFromRows(HASH, ["fine", "ab\udc80"])).toThrow(InvalidInputError);
  expect(() => columnsFromRows(HASH, ["fine", "👩ab\udc80"])).toThrow(
    /texts\[1\].*surrogate '\\udc80' at character 4/,
  );
});

test("sounds of one request have one length", () => {
  const sounds = [3, 2, 3, 2, 2].map((samples, row) => new Float32Array(samples).fill(row));
  const columns = columnsFromRows(SOUNDS, sounds);
  const batches = batchesOfColumns(columns, 2);
  expect(batches).toEqual([[0, 2], [1, 3], [4]]);
  const { data, shape } = inputsFromRows(columns, [0, 2]).waveform ?? {};
  expect([[...(data as Float32Array)], shape]).toEqual([
    [0, 0, 0, 2, 2, 2],
    [2, 3],
  ]);
});

test("a sound has samples", () => {
  expect(() => columnsFromRows(SOUNDS, [new Float32Array()])).toThrow(InvalidInputError);
  expect(() => columnsFromRows(SOUNDS, ["text"])).toThrow(InputTypeError);
});
