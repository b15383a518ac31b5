/** The README's TypeScript as one program. */

import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("..", import.meta.url));
const BLOCK = /^```ts\n(.*?)^```/gms;

/** The code blocks, in order. */
export function readmeBlocks(): string[] {
  const readme = readFileSync(join(ROOT, "README.md"), "utf8");
  return [...readme.matchAll(BLOCK)].map(([, code]) => code ?? "");
}

/**
 * Compile a program strictly, with this package under its own name.
 *
 * @returns where the JavaScript is
 */
export function compile(name: string, program: string): string {
  const folder = join(ROOT, "dist-test", name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const settings = {
    extends: "../../tsconfig.json",
    compilerOptions: {
      noEmit: false,
      rootDir: "../..",
      outDir: "out",
      paths: { "tritonpack-client": ["../../src/index.ts"] },
    },
    include: ["program.ts"],
  };
  writeFileSync(join(folder, "program.ts"), program);
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(settings));
  execFileSync(join(ROOT, "node_modules", ".bin", "tsc"), ["-p", folder], {
    stdio: "pipe",
    encoding: "utf8",
  });
  return join(folder, "out", "dist-test", name, "program.js");
}
