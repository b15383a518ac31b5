/**
 * Typed arrays to the bytes that Triton reads, and back: pure functions.
 *
 * Triton reads and writes little-endian numbers, as every machine that Node runs on in practice; BYTES elements have
 * their length in four bytes before them.
 */

import { InputTypeError, InvalidInputError, UnexpectedAnswerError } from "./errors.js";
import type { ModelLimits, TensorSpec } from "./limits.js";
import { bytesFromItems, itemsFromBytes } from "./texts.js";

/** The array that carries each of Triton's types. FP16 and BF16 travel as their 16 bits. */
export interface DataOf {
  /** 0 or 1 each. */
  BOOL: Uint8Array;
  UINT8: Uint8Array;
  UINT16: Uint16Array;
  UINT32: Uint32Array;
  UINT64: BigUint64Array;
  INT8: Int8Array;
  INT16: Int16Array;
  INT32: Int32Array;
  INT64: BigInt64Array;
  FP16: Uint16Array;
  BF16: Uint16Array;
  FP32: Float32Array;
  FP64: Float64Array;
  BYTES: readonly Uint8Array[];
}

export type Datatype = keyof DataOf;

/** What a tensor holds and how; the elements are in row-major order. */
export type Tensor = {
  [D in Datatype]: { readonly datatype: D; readonly shape: readonly number[]; readonly data: DataOf[D] };
}[Datatype];

/** Tensors by name. */
export type Tensors = Readonly<Record<string, Tensor>>;

/** Elements of an input: texts or bytes for BYTES, booleans or `Uint8Array` for BOOL. */
export type TensorData =
  Exclude<DataOf[Datatype], readonly Uint8Array[]> | readonly (string | Uint8Array)[] | readonly boolean[];

/** An input. Without a shape, rows are as long as the model's configuration says. */
export interface TensorInput {
  readonly data: TensorData;
  readonly shape?: readonly number[];
  /** Without it, the type of the model's configuration. */
  readonly datatype?: Datatype;
}

/** Inputs by name. */
export type TensorInputs = Readonly<Record<string, TensorData | TensorInput>>;

/** One tensor as it travels. */
export interface WireTensor {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
  readonly raw: Uint8Array;
}

type NumberArray = Exclude<DataOf[Datatype], readonly Uint8Array[]>;
type NumberArrayClass = {
  new (buffer: ArrayBuffer): NumberArray;
  readonly BYTES_PER_ELEMENT: number;
  readonly name: string;
};

const CARRIERS: Readonly<Record<Exclude<Datatype, "BYTES">, NumberArrayClass>> = {
  BOOL: Uint8Array,
  UINT8: Uint8Array,
  UINT16: Uint16Array,
  UINT32: Uint32Array,
  UINT64: BigUint64Array,
  INT8: Int8Array,
  INT16: Int16Array,
  INT32: Int32Array,
  INT64: BigInt64Array,
  FP16: Uint16Array,
  BF16: Uint16Array,
  FP32: Float32Array,
  FP64: Float64Array,
};

/** Every type that a tensor may have. */
export const DATATYPES: readonly string[] = [...Object.keys(CARRIERS), "BYTES"];

/**
 * Make one input as it travels.
 *
 * @param spec what the model says of this input
 * @param limits the model's
 * @throws {InputTypeError} the data isn't of the type
 * @throws {InvalidInputError} the shape doesn't fit the data, or a text can't be encoded
 */
export function wireFromInput(
  spec: TensorSpec,
  given: TensorData | TensorInput,
  { model, maxBatchSize }: Pick<ModelLimits, "model" | "maxBatchSize">,
): WireTensor {
  const input = isTensorInput(given) ? given : { data: given };
  const datatype = input.datatype ?? spec.datatype;
  const raw = rawFromData(spec.name, datatype, input.data, model);
  const shape = input.shape ?? shapeFrom(spec, input.data.length, maxBatchSize > 0, model);
  const count = elements(shape);
  if (count !== input.data.length) {
    throw new InvalidInputError(
      `input '${spec.name}' has ${input.data.length} elements, and shape [${shape.join(", ")}] holds ${count}`,
      { model },
    );
  }
  return { name: spec.name, datatype, shape, raw };
}

function isTensorInput(given: TensorData | TensorInput): given is TensorInput {
  return typeof given === "object" && given !== null && !ArrayBuffer.isView(given) && "data" in given;
}

function rawFromData(name: string, datatype: Datatype, data: TensorData, model: string): Uint8Array {
  if (datatype === "BYTES") {
    return bytesFromItems(`input '${name}'`, data, model);
  }
  const carrier: NumberArrayClass | undefined = CARRIERS[datatype];
  if (carrier === undefined) {
    throw new InputTypeError(`input '${name}': Triton has no type '${datatype}'`, {
      model,
      hint: `The types are ${DATATYPES.join(", ")}`,
    });
  }
  if (datatype === "BOOL" && Array.isArray(data) && data.every((item) => typeof item === "boolean")) {
    return Uint8Array.from(data, Number);
  }
  if (!(data instanceof (carrier as unknown as new () => NumberArray))) {
    throw new InputTypeError(`input '${name}' is ${kindOf(data)}; ${datatype} travels as ${carrier.name}`, {
      model,
      hint: `Pass ${carrier.name}.from(...)`,
    });
  }
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function shapeFrom(spec: TensorSpec, count: number, batched: boolean, model: string): readonly number[] {
  const free = spec.dims.filter((size) => size < 0).length;
  const known = elements(spec.dims.map((size) => Math.max(size, 1)));
  if (free + (batched ? 1 : 0) > 1 || known === 0 || count % known !== 0) {
    throw new InvalidInputError(
      `input '${spec.name}' has ${count} elements, and the model takes rows of [${spec.dims.join(", ")}]`,
      { model, hint: "Pass {data, shape}" },
    );
  }
  const rows = count / known;
  return batched ? [rows, ...spec.dims] : spec.dims.map((size) => (size < 0 ? rows : size));
}

/**
 * Make a tensor of what came.
 *
 * @param model for errors
 * @throws {UnexpectedAnswerError} the bytes aren't what type and shape say
 */
export function tensorFromWire({ name, datatype, shape, raw }: WireTensor, model = ""): Tensor {
  const count = elements(shape);
  const data = datatype === "BYTES" ? itemsFromBytes(raw) : numbersFromBytes(datatype as Datatype, raw);
  if (data === undefined || data.length !== count) {
    throw new UnexpectedAnswerError(
      `output '${name}' says ${datatype} [${shape.join(", ")}], which its ${raw.length} bytes aren't`,
      { model },
    );
  }
  return { datatype, shape, data } as Tensor;
}

function numbersFromBytes(datatype: Datatype, raw: Uint8Array): NumberArray | undefined {
  const carrier = CARRIERS[datatype as Exclude<Datatype, "BYTES">] as NumberArrayClass | undefined;
  if (carrier === undefined || raw.length % carrier.BYTES_PER_ELEMENT !== 0) {
    return undefined;
  }
  // A copy: the bytes may begin anywhere in the message, and would keep all of it alive.
  const copy = new ArrayBuffer(raw.length);
  new Uint8Array(copy).set(raw);
  return new carrier(copy);
}

function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

function kindOf(value: unknown): string {
  return value === null || typeof value !== "object" ? typeof value : (value.constructor?.name ?? "object");
}
