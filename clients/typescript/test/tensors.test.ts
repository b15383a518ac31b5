import fc from "fast-check";
import { expect, test } from "vitest";
import { InputTypeError, InvalidInputError, UnexpectedAnswerError } from "../src/errors.js";
import {
  DATATYPES,
  type Datatype,
  type Tensor,
  type TensorData,
  tensorFromWire,
  wireFromInput,
} from "../src/tensors.js";

const BATCHED = { model: "m", maxBatchSize: 4 };
const FLAT = { model: "m", maxBatchSize: 0 };

const ARRAYS: Readonly<Record<Datatype, fc.Arbitrary<TensorData>>> = {
  BOOL: fc.uint8Array({ max: 1 }),
  UINT8: fc.uint8Array(),
  UINT16: fc.uint16Array(),
  UINT32: fc.uint32Array(),
  UINT64: fc.bigUint64Array(),
  INT8: fc.int8Array(),
  INT16: fc.int16Array(),
  INT32: fc.int32Array(),
  INT64: fc.bigInt64Array(),
  FP16: fc.uint16Array(),
  BF16: fc.uint16Array(),
  FP32: fc.float32Array(),
  FP64: fc.float64Array(),
  BYTES: fc.array(fc.uint8Array()),
};

test.each(DATATYPES as Datatype[])("%s comes back as it was, wherever it lies in a message", (datatype) => {
  fc.assert(
    fc.property(ARRAYS[datatype], fc.nat(9), (data, offset) => {
      const wire = wireFromInput({ name: "x", datatype, dims: [-1] }, data, FLAT);
      const message = new Uint8Array(offset + wire.raw.length);
      message.set(wire.raw, offset);
      const back = tensorFromWire({ ...wire, raw: message.subarray(offset) });
      expect(back).toEqual({ datatype, shape: [data.length], data });
    }),
  );
});

test("booleans are BOOL", () => {
  const wire = wireFromInput({ name: "x", datatype: "BOOL", dims: [-1] }, [true, false], FLAT);
  expect([...wire.raw]).toEqual([1, 0]);
});

test("a part of an array is sent, not what lies around it", () => {
  const part = Float32Array.of(1, 2, 3, 4).subarray(1, 3);
  const wire = wireFromInput({ name: "x", datatype: "FP32", dims: [2] }, part, BATCHED);
  expect(tensorFromWire(wire)).toEqual({ datatype: "FP32", shape: [1, 2], data: Float32Array.of(2, 3) });
});

test.each<[TensorData, number[], typeof BATCHED, number[]]>([
  [["a", "b"], [1], BATCHED, [2, 1]],
  [new Float32Array(6), [3], BATCHED, [2, 3]],
  [new Float32Array(6), [-1, 3], FLAT, [2, 3]],
  [new Float32Array(0), [3], BATCHED, [0, 3]],
])("a shape follows from the configuration", (data, dims, limits, shape) => {
  const datatype = Array.isArray(data) ? "BYTES" : "FP32";
  expect(wireFromInput({ name: "x", datatype, dims }, data, limits).shape).toEqual(shape);
});

test.each<[TensorData, number[], typeof BATCHED]>([
  [new Float32Array(6), [-1], BATCHED],
  [new Float32Array(7), [3], BATCHED],
  [new Float32Array(6), [-1, -1], FLAT],
])("a shape that doesn't follow must be said", (data, dims, limits) => {
  expect(() => wireFromInput({ name: "x", datatype: "FP32", dims }, data, limits)).toThrow(InvalidInputError);
});

test("a shape holds its data", () => {
  const input = { data: new Float32Array(3), shape: [2, 2] };
  expect(() => wireFromInput({ name: "x", datatype: "FP32", dims: [2] }, input, BATCHED)).toThrow(
    /3 elements, and shape \[2, 2\] holds 4/,
  );
});

test("an input says its own type", () => {
  const input = { data: Uint16Array.of(0x3c00), shape: [1], datatype: "FP16" as const };
  expect(wireFromInput({ name: "x", datatype: "FP32", dims: [-1] }, input, FLAT).datatype).toBe("FP16");
});

test.each<[Datatype, unknown]>([
  ["FP32", [1, 2]],
  ["FP32", new Float64Array(2)],
  ["INT64", new Int32Array(2)],
  ["INT64", [1n]],
  ["FP32", "text"],
  ["FP32", null],
  ["FP32", undefined],
  ["FP32", 5],
  ["BOOL", [1, 0]],
  ["BYTES", "text"],
  ["BYTES", new Uint8Array(2)],
  ["BYTES", ["a", 1]],
  ["FP8" as Datatype, new Uint8Array(1)],
])("%s isn't carried by %s", (datatype, data) => {
  const given = data as TensorData;
  expect(() => wireFromInput({ name: "x", datatype, dims: [-1] }, given, FLAT)).toThrow(InputTypeError);
});

test.each<[string, number[], number]>([
  ["FP32", [2], 4],
  ["FP32", [1], 3],
  ["BYTES", [1], 3],
  ["FP8", [1], 1],
])("%s %j of %i bytes is no tensor", (datatype, shape, size) => {
  const wire = { name: "x", datatype, shape, raw: new Uint8Array(size) };
  expect(() => tensorFromWire(wire, "m")).toThrow(UnexpectedAnswerError);
});

test("a datatype tells the type of the data", () => {
  const tensor: Tensor = tensorFromWire({ name: "x", datatype: "INT64", shape: [1], raw: new Uint8Array(8) });
  const first: bigint | undefined = tensor.datatype === "INT64" ? tensor.data[0] : undefined;
  expect(first).toBe(0n);
});
