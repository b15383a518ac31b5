/** Texts to bytes and back, and how their characters are counted: pure functions. */

import { InputTypeError, InvalidInputError } from "./errors.js";

const HIGH_SURROGATE = /[\ud800-\udbff]/;
const LONE_SURROGATE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;

/**
 * Refuse what isn't a text that UTF-8 can express.
 *
 * @param where what holds the text, for errors
 * @param model for errors
 * @throws {InputTypeError} it isn't a string
 * @throws {InvalidInputError} it holds a lone surrogate
 */
export function checkText(where: string, text: unknown, model = ""): asserts text is string {
  if (typeof text !== "string") {
    throw new InputTypeError(`${where} is ${text === null ? "null" : typeof text}, not a string`, {
      model,
      hint: "Decode bytes first, and leave out what is missing",
    });
  }
  if (!text.isWellFormed()) {
    const place = text.search(LONE_SURROGATE);
    const unit = text.charCodeAt(place).toString(16);
    throw new InvalidInputError(
      `${where} can't be encoded as UTF-8: a lone surrogate '\\u${unit}' at character ${place}`,
      { model, hint: "text.toWellFormed() replaces it" },
    );
  }
}

// A message of protobuf holds less than 2 GiB.
const MOST_BYTES = 2 ** 31 - 2 ** 16;

/** Refuse inputs that are more than a request holds. */
export function checkSize(bytes: number, model: string): void {
  if (bytes > MOST_BYTES) {
    throw new InvalidInputError(`the inputs have ${bytes} bytes; a request holds ${MOST_BYTES}`, { model });
  }
}

/**
 * Strings and bytes as a BYTES tensor: each with its length in four bytes before it.
 *
 * @param where what holds the items, for errors
 */
export function bytesFromItems(where: string, items: unknown, model = ""): Uint8Array {
  if (!Array.isArray(items)) {
    throw new InputTypeError(`${where} is ${typeof items}, not an array of strings or Uint8Arrays`, {
      model,
      hint: "Pass [text]",
    });
  }
  const lengths = items.map((item, index) => {
    if (item instanceof Uint8Array) {
      return item.length;
    }
    checkText(`${where}[${index}]`, item, model);
    return Buffer.byteLength(item);
  });
  const size = lengths.reduce((sum, length) => sum + 4 + length, 0);
  checkSize(size, model);
  const bytes = Buffer.allocUnsafe(size);
  let place = 0;
  items.forEach((item: string | Uint8Array, index) => {
    place = bytes.writeUInt32LE(lengths[index] as number, place);
    if (typeof item === "string") {
      bytes.write(item, place, "utf8");
    } else {
      bytes.set(item, place);
    }
    place += lengths[index] as number;
  });
  return bytes;
}

/** The inverse of `bytesFromItems`; undefined if lengths and bytes don't go together. */
export function itemsFromBytes(bytes: Uint8Array): Uint8Array[] | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const items: Uint8Array[] = [];
  let place = 0;
  while (place < bytes.length) {
    if (place + 4 > bytes.length) {
      return undefined;
    }
    const begin = place + 4;
    place = begin + view.getUint32(place, true);
    if (place > bytes.length) {
      return undefined;
    }
    items.push(bytes.slice(begin, place));
  }
  return items;
}

const DECODER = new TextDecoder("utf-8", { ignoreBOM: true });

/** UTF-8 bytes as a string; what isn't UTF-8 becomes U+FFFD. */
export function textFromBytes(bytes: Uint8Array): string {
  return DECODER.decode(bytes);
}

/**
 * Where the characters of a text stand in it.
 *
 * Triton's models count Unicode code points, strings of JavaScript UTF-16 units: characters beyond U+FFFF, such as
 * emoji, are two of them.
 *
 * @returns a function from the number of a code point to its index in `text`
 */
export function indexInText(text: string): (codePoint: number) => number {
  if (!HIGH_SURROGATE.test(text)) {
    return (codePoint) => codePoint;
  }
  const indices: number[] = [];
  let index = 0;
  for (const character of text) {
    indices.push(index);
    index += character.length;
  }
  // The end of the text is a place too.
  return (codePoint) => indices[codePoint] ?? index;
}
