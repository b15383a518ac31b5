/** What a model takes and gives, as data: read once from its configuration. */

import { DataType, type ModelConfig } from "./generated/model_config.js";
import type { Datatype } from "./tensors.js";

/** One input or output. */
export interface TensorSpec {
  readonly name: string;
  readonly datatype: Datatype;
  /** Without the batch dimension; -1 stands for any size. */
  readonly dims: readonly number[];
}

/** What one request to a model may hold. */
export interface ModelLimits {
  readonly model: string;
  /** The most rows of one request; 0 if the model has no batch dimension. */
  readonly maxBatchSize: number;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  /** Requests belong to sequences, and the model remembers what came before: they are never sent twice. */
  readonly stateful: boolean;
  /** A request may have any number of answers: `client.stream`. */
  readonly decoupled: boolean;
}

/** One model of the server's repository. */
export interface ModelState {
  readonly name: string;
  /** As text; empty while no version was loaded. */
  readonly version: string;
  /** `READY`, `LOADING`, `UNAVAILABLE` ...; empty while it was never loaded. */
  readonly state: string;
  /** Triton's own words when the state isn't `READY`. */
  readonly reason: string;
}

/** Read limits from Triton's configuration of a model. */
export function limitsFromConfig(config: ModelConfig): ModelLimits {
  return {
    model: config.name,
    maxBatchSize: config.maxBatchSize,
    inputs: config.input.map(specFrom),
    outputs: config.output.map(specFrom),
    stateful: config.schedulingChoice?.$case === "sequenceBatching",
    decoupled: config.modelTransactionPolicy?.decoupled ?? false,
  };
}

function specFrom(tensor: { name: string; dataType: DataType; dims: bigint[] }): TensorSpec {
  const name = (DataType[tensor.dataType] ?? "").replace("TYPE_", "");
  return {
    name: tensor.name,
    datatype: (name === "STRING" ? "BYTES" : name) as Datatype,
    dims: tensor.dims.map(Number),
  };
}

/** Inputs or outputs in words, for errors. */
export function specsInWords(specs: readonly TensorSpec[]): string {
  return (
    specs.map(({ name, datatype, dims }) => `${name} ${datatype} [${dims.join(", ")}]`).join(", ") ||
    "nothing"
  );
}
