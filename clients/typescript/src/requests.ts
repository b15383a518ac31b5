/** Triton's messages of requests and answers: pure functions. */

import { InputTypeError, InvalidInputError } from "./errors.js";
import type { InferParameter, ModelInferRequest, ModelInferResponse } from "./generated/grpc_service.js";
import type { ModelLimits } from "./limits.js";
import { type Tensor, type TensorInputs, type Tensors, tensorFromWire, wireFromInput } from "./tensors.js";
import { checkSize } from "./texts.js";

/** A value of a request's parameter; whole numbers are `bigint` or a `number` without a fraction. */
export type Parameter = string | boolean | number | bigint;

/** What a request says beside its inputs. */
export interface RequestOptions {
  /** The outputs to ask for; without it all of them. */
  readonly outputs?: readonly string[] | undefined;
  /** Triton's request parameters, e.g. `{sequence_id: 7n, sequence_start: true}`. */
  readonly parameters?: Readonly<Record<string, Parameter>> | undefined;
}

/**
 * Make a request; what is left of its deadline is added when it is sent.
 *
 * @throws {InvalidInputError} a name that the model doesn't have, or an input that can't be sent
 */
export function requestFromInputs(
  limits: ModelLimits,
  inputs: TensorInputs,
  options: RequestOptions = {},
): (leftMs: number) => ModelInferRequest {
  const { model } = limits;
  if (typeof inputs !== "object" || inputs === null) {
    throw new InputTypeError(`inputs is ${typeof inputs}, not an object of tensors by name`, { model });
  }
  const names = limits.inputs.map((spec) => spec.name);
  const unknown = Object.keys(inputs).filter((name) => !names.includes(name));
  if (unknown.length > 0) {
    throw new InvalidInputError(
      `no input named ${unknown.map((name) => `'${name}'`).join(", ")}; the inputs are ${names.join(", ")}`,
      { model },
    );
  }
  const tensors = limits.inputs.flatMap((spec) => {
    const given = inputs[spec.name];
    return given === undefined ? [] : [wireFromInput(spec, given, limits)];
  });
  checkSize(
    tensors.reduce((sum, tensor) => sum + tensor.raw.length, 0),
    model,
  );
  const parameters = Object.entries(options.parameters ?? {}).map(
    ([name, value]) => [name, parameterFrom(name, value, model)] as const,
  );
  return (leftMs) => ({
    modelName: model,
    modelVersion: "",
    id: "",
    // Triton's queue drops what would come too late.
    parameters: {
      timeout: wholeNumber(Math.min(Math.max(1, Math.trunc(leftMs * 1000)), Number.MAX_SAFE_INTEGER)),
      ...Object.fromEntries(parameters),
    },
    inputs: tensors.map(({ name, datatype, shape }) => ({
      name,
      datatype,
      shape: shape.map(BigInt),
      parameters: {},
      contents: undefined,
    })),
    outputs: (options.outputs ?? []).map((name) => ({ name, parameters: {} })),
    rawInputContents: tensors.map((tensor) => tensor.raw),
  });
}

function wholeNumber(value: number | bigint): InferParameter {
  return { parameterChoice: { $case: "int64Param", value: BigInt(value) } };
}

function parameterFrom(name: string, value: Parameter, model: string): InferParameter {
  switch (typeof value) {
    case "bigint":
      return wholeNumber(value);
    case "number":
      return Number.isInteger(value)
        ? wholeNumber(value)
        : { parameterChoice: { $case: "doubleParam", value } };
    case "string":
      return { parameterChoice: { $case: "stringParam", value } };
    case "boolean":
      return { parameterChoice: { $case: "boolParam", value } };
    default:
      throw new InputTypeError(`parameter '${name}' is ${typeof value}`, {
        model,
        hint: "Parameters are strings, booleans and numbers",
      });
  }
}

/** What a request holds, for errors. */
export function shapesInWords({ inputs }: ModelInferRequest): string {
  const shapes = inputs.map(({ name, datatype, shape }) => `${name} ${datatype} [${shape.join(", ")}]`);
  return `the request's shapes are ${shapes.join(", ") || "none"}`;
}

/**
 * The outputs of an answer by name.
 *
 * @throws {UnexpectedAnswerError} what is in it isn't what it says
 */
export function tensorsFromAnswer(answer: ModelInferResponse, model: string): Tensors {
  const tensors: Record<string, Tensor> = {};
  for (const [place, { name, datatype, shape }] of answer.outputs.entries()) {
    const raw = answer.rawOutputContents[place] ?? new Uint8Array();
    tensors[name] = tensorFromWire({ name, datatype, shape: shape.map(Number), raw }, model);
  }
  return tensors;
}
