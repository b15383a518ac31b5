/** A typed gRPC client for models that tritonpack serves. */

export type { Pair, Row } from "./batching.js";
export {
  type CallOptions,
  Client,
  type InferOptions,
  type IterEmbedOptions,
  type ReadyOptions,
  type ScoreOptions,
} from "./client.js";
export * from "./errors.js";
export type { ModelLimits, ModelState, TensorSpec } from "./limits.js";
export type { ClientOptions, Headers, TlsOptions } from "./options.js";
export type { Parameter } from "./requests.js";
export type { RetryOptions } from "./retries.js";
export type { Answer, Entity, Label, Token } from "./tasks.js";
export type { DataOf, Datatype, Tensor, TensorData, TensorInput, TensorInputs, Tensors } from "./tensors.js";
export { textFromBytes } from "./texts.js";
