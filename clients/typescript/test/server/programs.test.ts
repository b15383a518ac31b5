/** Whole programs, as processes of their own: the README's, and the load worker. */

import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, test } from "vitest";
import { compile, ROOT, readmeBlocks } from "../readme.js";
import { SERVER } from "./address.js";

/** The models of the README -> those that the tests have. */
const MODELS = { minilm: "hash", sentiment: "labels" };

interface Ended {
  readonly code: number | null;
  readonly output: string;
  readonly errors: string;
}

function run(words: string[], answer?: (line: string) => string | undefined, first?: string): Promise<Ended> {
  const child = spawn(process.execPath, words, { stdio: "pipe" });
  let [output, errors] = ["", ""];
  createInterface({ input: child.stdout }).on("line", (line) => {
    output += `${line}\n`;
    const reply = answer?.(line);
    if (reply !== undefined) {
      child.stdin.write(`${reply}\n`);
    }
  });
  child.stderr.on("data", (part: Buffer) => {
    errors += part.toString();
  });
  if (first !== undefined) {
    child.stdin.write(`${first}\n`);
  }
  return new Promise((resolve) => {
    child.on("close", (code) => resolve({ code, output, errors }));
  });
}

test("the README's code runs, and its process ends by itself", async () => {
  let program = readmeBlocks().join("\n").replaceAll("127.0.0.1:8001", SERVER);
  program = program.replaceAll("localhost:8001", SERVER.replace("127.0.0.1", "localhost"));
  for (const [name, ours] of Object.entries(MODELS)) {
    program = program.replaceAll(`"${name}"`, `"${ours}"`);
  }
  const { code, output, errors } = await run([compile("readme-run", program)]);
  expect([errors, code]).toEqual(["", 0]);
  expect(output).toMatch(/^2 8\n/);
  expect(output).toContain("Berlin");
  expect(output).toContain("4611686018427387904n");
  expect(output).toContain("nosuch");
}, 60_000);

test("the load worker tells when each request was sent and answered", async () => {
  const job = {
    url: SERVER,
    model: "hash",
    rows: [{ text: "a" }, { text: "b" }],
    output: "embedding",
    concurrency: 4,
    duration_s: 0.5,
    warm_up_s: 0.1,
    timeout_s: 5,
    open_connections: 2,
  };
  const start = () => String(process.hrtime.bigint() + 50_000_000n);
  const worker = join(ROOT, "dist", "load.js");
  const answer = (line: string) => (line === "ready" ? start() : undefined);
  const { code, output, errors } = await run([worker], answer, JSON.stringify(job));
  expect([errors, code]).toEqual(["", 0]);
  const outcome = JSON.parse(output.split("\n")[1] ?? "");
  const [sent, answered] = [timesOf(outcome.sent_ns), timesOf(outcome.answered_ns)];
  expect(sent.length).toBeGreaterThan(10);
  expect(answered).toHaveLength(sent.length);
  expect(sent.every((time, place) => time < (answered[place] ?? 0n))).toBe(true);
  expect(outcome.statuses).toEqual(new Array(sent.length).fill(0));
  expect(outcome.messages).toEqual({});
  expect(outcome.cpu_s).toBeGreaterThan(0);
}, 60_000);

test("the load worker counts errors by their status", async () => {
  const job = { url: SERVER, model: "moods", rows: [{ text: "fail:load" }], concurrency: 1, duration_s: 0.1 };
  const whole = JSON.stringify({ ...job, warm_up_s: 0, timeout_s: 5 });
  const answer = (line: string) => (line === "ready" ? String(process.hrtime.bigint()) : undefined);
  const { output } = await run([join(ROOT, "dist", "load.js")], answer, whole);
  const outcome = JSON.parse(output.split("\n")[1] ?? "");
  expect(new Set(outcome.statuses)).toEqual(new Set([13]));
  expect(outcome.messages["13"]).toContain("asked to fail");
}, 60_000);

function timesOf(base64: string): bigint[] {
  const bytes = Buffer.from(base64, "base64");
  return Array.from({ length: bytes.length / 8 }, (_, place) => bytes.readBigInt64LE(place * 8));
}
