import fc from "fast-check";
import { expect, test } from "vitest";
import { bytesFromItems, checkText, indexInText, itemsFromBytes, textFromBytes } from "../src/texts.js";

const TEXT = fc.string({ unit: "binary" });

test("texts and bytes come back as they were", () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(TEXT, fc.uint8Array())), (items) => {
      const back = itemsFromBytes(bytesFromItems("texts", items));
      const wanted = items.map((item) => (typeof item === "string" ? Buffer.from(item) : Buffer.from(item)));
      expect(back?.map((item) => Buffer.from(item).toString("hex"))).toEqual(
        wanted.map((item) => item.toString("hex")),
      );
    }),
  );
});

test("a text is itself again, byte order mark and all", () => {
  fc.assert(
    fc.property(TEXT, (text) => {
      expect(textFromBytes(Buffer.from(`\ufeff${text}`))).toBe(`\ufeff${text}`);
    }),
  );
});

test("any string is a text, or refused for its surrogates", () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.nat(0xffff).map((code) => String.fromCharCode(code)) }), (text) => {
      if (text.isWellFormed()) {
        checkText("text", text);
      } else {
        expect(() => checkText("text", text)).toThrow(/surrogate/);
      }
    }),
  );
});

test.each([[[1]], [[0, 0, 0]], [[2, 0, 0, 0, 65]]])("bytes %j are no items", (bytes) => {
  expect(itemsFromBytes(Uint8Array.from(bytes))).toBeUndefined();
});

test("code points become indices that slice understands", () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom("a", "é", "日", "👩", "𝒳", "\u200d")),
      fc.nat(12),
      fc.nat(12),
      (points, a, b) => {
        const text = points.join("");
        const [start = 0, end = 0] = [a, b]
          .map((place) => Math.min(place, points.length))
          .sort((x, y) => x - y);
        const index = indexInText(text);
        expect(text.slice(index(start), index(end))).toBe(points.slice(start, end).join(""));
      },
    ),
  );
});
