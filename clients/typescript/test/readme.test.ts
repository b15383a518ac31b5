import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import * as library from "../src/index.js";
import { compile, ROOT, readmeBlocks } from "./readme.js";

test("the README's code compiles", () => {
  const blocks = readmeBlocks();
  expect(blocks.length).toBeGreaterThanOrEqual(5);
  try {
    compile("readme", blocks.join("\n"));
  } catch (error) {
    throw new Error((error as { stdout: string }).stdout);
  }
}, 60_000);

test("the README names every method and every error", () => {
  const readme = readFileSync(join(ROOT, "README.md"), "utf8");
  const methods = Object.getOwnPropertyNames(library.Client.prototype).filter(
    (name) => name !== "constructor",
  );
  const errors = Object.keys(library).filter((name) => name.endsWith("Error"));
  expect(methods).toHaveLength(16);
  expect([...methods, ...errors].filter((name) => !new RegExp(`\\b${name}\\b`).test(readme))).toEqual([]);
});
