/** What models of the tasks take and give, as their configurations say. */

import type { ModelLimits } from "../src/limits.js";
import type { Datatype } from "../src/tensors.js";

type Specs = Readonly<Record<string, readonly [Datatype, ...number[]]>>;

function model(name: string, inputs: Specs, outputs: Specs): ModelLimits {
  const specs = (all: Specs) =>
    Object.entries(all).map(([key, [datatype, ...dims]]) => ({ name: key, datatype, dims }));
  return {
    model: name,
    maxBatchSize: 4,
    inputs: specs(inputs),
    outputs: specs(outputs),
    stateful: false,
    decoupled: false,
  };
}

const TEXT: Specs = { text: ["BYTES", 1] };
const PAIR: Specs = { ...TEXT, text_pair: ["BYTES", 1] };
const LABELS: Specs = { labels: ["BYTES", -1], scores: ["FP32", -1] };
const SPANS: Specs = { scores: ["FP32", -1], starts: ["INT32", -1], ends: ["INT32", -1] };
const TOKENS: Specs = { tokens: ["BYTES", 2], token_ids: ["INT32", 2], scores: ["FP32", 2] };

export const HASH = model("hash", TEXT, { embedding: ["FP32", 8] });
export const SOUNDS = model("sounds", { waveform: ["FP32", -1] }, { embedding: ["FP32", 8] });
export const LABELLED = model("labels", TEXT, LABELS);
export const PAIRS = model("pairs", PAIR, LABELS);
export const ENTITIES = model("entities", TEXT, {
  entities: ["BYTES", -1],
  labels: ["BYTES", -1],
  ...SPANS,
  counts: ["INT32", 1],
});
export const ANSWERS = model(
  "answers",
  { question: ["BYTES", 1], context: ["BYTES", 1] },
  { answers: ["BYTES", -1], ...SPANS },
);
export const MASKS = model("masks", TEXT, {
  tokens: ["BYTES", -1, 2],
  token_ids: ["INT32", -1, 2],
  scores: ["FP32", -1, 2],
  counts: ["INT32", 1],
});
export const NEXT = model("tokens", TEXT, TOKENS);
