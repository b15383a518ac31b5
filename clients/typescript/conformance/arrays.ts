/** Arrays as the cases write them, and whether a result is the expected one. */

import { type Datatype, type Tensor, type TensorInput, textFromBytes } from "tritonpack-client";

const TOLERANCE = 1e-5;

/** An array of a case. */
export interface CaseArray {
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly data?: readonly unknown[];
  readonly counting?: number;
}

const NUMBERS = {
  UINT8: Uint8Array,
  UINT16: Uint16Array,
  UINT32: Uint32Array,
  INT8: Int8Array,
  INT16: Int16Array,
  INT32: Int32Array,
  FP32: Float32Array,
  FP64: Float64Array,
} as const;

export function isArray(value: unknown): value is CaseArray {
  return typeof value === "object" && value !== null && "datatype" in value && "shape" in value;
}

/** The input that a case writes. */
export function inputFrom({ datatype, shape, ...content }: CaseArray): TensorInput {
  return { data: dataFrom(datatype, elementsOf({ datatype, shape, ...content })), shape, datatype };
}

function elementsOf({ shape, data, counting }: CaseArray): readonly unknown[] {
  if (counting === undefined) {
    return data ?? [];
  }
  const count = shape.reduce((product, size) => product * size, 1);
  return Array.from({ length: count }, (_, place) => place % counting);
}

function dataFrom(datatype: Datatype, elements: readonly unknown[]): TensorInput["data"] {
  switch (datatype) {
    case "BYTES":
      return elements.map((element) => (typeof element === "string" ? element : bytesOf(element)));
    case "BOOL":
      return elements.map(Boolean);
    case "INT64":
      return BigInt64Array.from(elements, (element) => BigInt(element as string));
    case "UINT64":
      return BigUint64Array.from(elements, (element) => BigInt(element as string));
    case "FP16":
      return Uint16Array.from(elements, (element) => halfFrom(Number(element)));
    case "BF16":
      throw new Error("no case has BF16");
    default:
      return NUMBERS[datatype].from(elements.map(Number));
  }
}

function bytesOf(element: unknown): Buffer {
  return Buffer.from((element as { base64: string }).base64, "base64");
}

/** What differs first; an empty string if nothing does. */
export function difference(expected: unknown, actual: unknown, where = "result"): string {
  if (isArray(expected)) {
    return isArray(actual)
      ? arrayDifference(expected, actual as Tensor, where)
      : `${where} is ${typeof actual}, not an array`;
  }
  if (Array.isArray(expected)) {
    return listDifference(expected, actual, where);
  }
  if (typeof expected === "object" && expected !== null) {
    return keysDifference(expected as Record<string, unknown>, actual, where);
  }
  return same(expected, actual) ? "" : `${where} is ${String(actual)}, not ${String(expected)}`;
}

function listDifference(expected: readonly unknown[], actual: unknown, where: string): string {
  if (!Array.isArray(actual) || actual.length !== expected.length) {
    return `${where} has ${Array.isArray(actual) ? actual.length : "no"} elements, not ${expected.length}`;
  }
  for (const [place, item] of expected.entries()) {
    const found = difference(item, actual[place], `${where}[${place}]`);
    if (found) {
      return found;
    }
  }
  return "";
}

function keysDifference(expected: Record<string, unknown>, actual: unknown, where: string): string {
  if (typeof actual !== "object" || actual === null) {
    return `${where} is ${String(actual)}, not an object`;
  }
  const values = actual as Record<string, unknown>;
  const names = Object.keys(expected).sort().join();
  // Outputs come as a mapping, labels and limits as objects; of an object a case may leave keys out.
  if (Object.values(values).every(isArray) && Object.keys(values).sort().join() !== names) {
    return `${where} has the keys ${Object.keys(values).sort().join()}, not ${names}`;
  }
  for (const [name, value] of Object.entries(expected)) {
    const found = difference(value, values[isArray(value) ? name : camelCase(name)], `${where}.${name}`);
    if (found) {
      return found;
    }
  }
  return "";
}

export function camelCase(name: string): string {
  return name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
}

function arrayDifference(expected: CaseArray, actual: Tensor, where: string): string {
  const [wanted, found] = [
    `${expected.datatype} [${expected.shape}]`,
    `${actual.datatype} [${actual.shape}]`,
  ];
  if (wanted !== found) {
    return `${where} is ${found}, not ${wanted}`;
  }
  const elements = elementsOf(expected);
  for (const [place, element] of elements.entries()) {
    const [left, right] = comparable(actual, place, element);
    if (!same(left, right)) {
      return `${where}[${place}] is ${String(right)}, not ${String(left)}`;
    }
  }
  return elements.length === actual.data.length ? "" : `${where} has ${actual.data.length} elements`;
}

/** What a case writes for an element, and what came, as values that compare. */
function comparable(actual: Tensor, place: number, element: unknown): [unknown, unknown] {
  const value = actual.data[place];
  switch (actual.datatype) {
    case "BYTES":
      return typeof element === "string"
        ? [element, textFromBytes(value as Uint8Array)]
        : [bytesOf(element).toString("hex"), Buffer.from(value as Uint8Array).toString("hex")];
    case "BOOL":
      return [Number(element), value];
    case "INT64":
    case "UINT64":
      return [BigInt(element as string), value];
    case "FP16":
      return [Number(element), fromHalf(value as number)];
    default:
      return [Number(element), value];
  }
}

function same(expected: unknown, actual: unknown): boolean {
  if (typeof expected !== "number" || typeof actual !== "number") {
    return expected === (actual ?? null);
  }
  if (Object.is(expected, actual) || expected === actual) {
    return true;
  }
  const whole = Number.isSafeInteger(expected) && Number.isSafeInteger(actual);
  const bound = Math.max(TOLERANCE, TOLERANCE * Math.max(Math.abs(expected), Math.abs(actual)));
  return !whole && Math.abs(expected - actual) <= bound;
}

/** The bits of the half-precision number that is nearest. */
function halfFrom(value: number): number {
  if (Number.isNaN(value)) {
    return 0x7e00;
  }
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size < 2 ** -14) {
    return sign | Math.round(size * 2 ** 24);
  }
  const exponent = Math.floor(Math.log2(Math.min(size, 65536)));
  return sign | Math.min(0x7c00, ((exponent + 14) << 10) + Math.round((size / 2 ** exponent) * 1024));
}

function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  if (exponent === 31) {
    return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  }
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
