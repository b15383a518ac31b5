/**
 * The conformance cases with the TypeScript client; clients/conformance/README.md says how.
 *
 * Reads `{"server", "control", "cases"}` from standard input; prints one line of JSON a case.
 */

import { readFileSync } from "node:fs";
import * as library from "tritonpack-client";
import { Client, TritonClientError } from "tritonpack-client";
import { camelCase, difference, inputFrom, isArray } from "./arrays.js";

type Json = Record<string, unknown>;

interface ExpectedError {
  readonly class: string | readonly string[];
  readonly attempts?: number;
  readonly contains?: string;
}

interface Case {
  readonly name: string;
  readonly call: string;
  readonly model?: string;
  readonly arguments?: Json;
  readonly client?: Json;
  readonly faults?: Json;
  readonly endpoints?: readonly Json[];
  readonly warm?: boolean;
  readonly expect: {
    readonly result?: unknown;
    readonly result_contains?: string;
    readonly error?: ExpectedError;
  };
  readonly executed?: Readonly<Record<string, number>>;
  readonly took_s?: { readonly least?: number; readonly most?: number };
}

interface Job {
  readonly server: string;
  readonly control: string;
  readonly cases: readonly string[];
}

interface Outcome {
  readonly result?: unknown;
  readonly error?: unknown;
  readonly tookS: number;
}

/** Call -> the argument that is passed by its position. */
const FIRST: Readonly<Record<string, string>> = {
  embed: "texts",
  iter_embed: "texts",
  tag: "texts",
  fill_mask: "texts",
  next_tokens: "texts",
  infer: "inputs",
  stream: "inputs",
  classify: "rows",
  score_pairs: "pairs",
  answer: "questions",
};
const MODEL_BY_NAME = ["is_ready", "wait_ready"];
const ITERATED = ["iter_embed", "stream"];

type Method = (...values: unknown[]) => Promise<unknown> & AsyncIterable<unknown>;

async function outcomeOf(test: Case, urls: readonly string[], begin: () => Promise<void>): Promise<Outcome> {
  let started = performance.now();
  const tookS = () => (performance.now() - started) / 1000;
  let client: Client | undefined;
  try {
    client = new Client({ url: urls, ...optionsFrom(test.client ?? {}) });
    if (test.warm) {
      await client.limits(test.model ?? "");
      await begin();
    }
    const method = client[camelCase(test.call) as keyof Client] as Method;
    started = performance.now();
    const answer = method.apply(client, argumentsOf(test));
    const result = ITERATED.includes(test.call) ? await collected(answer) : await answer;
    return { result: resultOf(test, result), tookS: tookS() };
  } catch (error) {
    return { error, tookS: tookS() };
  } finally {
    client?.close();
  }
}

async function collected(items: AsyncIterable<unknown>): Promise<unknown[]> {
  const list: unknown[] = [];
  for await (const item of items) {
    list.push(item);
  }
  return list;
}

/** snake_case to camelCase, seconds to milliseconds. */
function optionsFrom(options: Json): Json {
  return Object.fromEntries(
    Object.entries(options).map(([name, value]) => {
      if (name.endsWith("_s")) {
        return [camelCase(`${name.slice(0, -2)}_ms`), typeof value === "number" ? value * 1000 : value];
      }
      const nested = typeof value === "object" && value !== null && !Array.isArray(value);
      return [camelCase(name), nested ? optionsFrom(value as Json) : value];
    }),
  );
}

function argumentsOf(test: Case): unknown[] {
  const { [FIRST[test.call] ?? ""]: first, ...named } = test.arguments ?? {};
  const options = optionsFrom(named);
  if (MODEL_BY_NAME.includes(test.call)) {
    return [test.model === undefined ? options : { ...options, model: test.model }];
  }
  const positional = test.model === undefined ? [] : [test.model];
  return FIRST[test.call] ? [...positional, dataOf(test.call, first), options] : [...positional, options];
}

function dataOf(call: string, data: unknown): unknown {
  if (call === "infer" || call === "stream") {
    const items = Object.entries(data as Json);
    return Object.fromEntries(items.map(([name, item]) => [name, isArray(item) ? inputFrom(item) : item]));
  }
  return call === "iter_embed" && Array.isArray(data) ? data.values() : data;
}

/** The result in the terms of the cases: rows of vectors as one array. */
function resultOf(test: Case, result: unknown): unknown {
  if (test.call === "embed" || test.call === "iter_embed") {
    const rows = result as Float32Array[];
    // A list of no vectors doesn't know how long they would be.
    const width =
      rows[0]?.length ?? (test.expect.result as { shape?: number[] } | undefined)?.shape?.[1] ?? 0;
    const data = rows.flatMap((row) => [...row]);
    return { datatype: "FP32", shape: [rows.length, width], data };
  }
  if (test.call === "score_pairs") {
    return { datatype: "FP32", shape: [(result as Float32Array).length], data: result };
  }
  return result;
}

function problemOf(test: Case, { result, error, tookS }: Outcome): string {
  const { least = 0, most = Number.POSITIVE_INFINITY } = test.took_s ?? {};
  const found = test.expect.error
    ? errorProblem(test.expect.error, error, result)
    : resultProblem(test, result, error);
  const late = tookS < least || tookS > most;
  return found || (late ? `took ${tookS.toFixed(2)} s, outside of ${JSON.stringify(test.took_s)}` : "");
}

function resultProblem(test: Case, result: unknown, error: unknown): string {
  if (error !== undefined) {
    return errorInWords(error);
  }
  const words = test.expect.result_contains;
  if (words !== undefined) {
    return String(result).includes(words) ? "" : `result is ${String(result)}`;
  }
  return difference(inUnitsOfText(test), result);
}

/** What the case expects, with `start` and `end` as indices of strings instead of numbers of code points. */
function inUnitsOfText(test: Case): unknown {
  if (test.call !== "tag" && test.call !== "answer") {
    return test.expect.result;
  }
  const sent = Object.values(test.arguments ?? {})[0] as readonly (string | readonly string[])[];
  return (test.expect.result as Json[][]).map((row, place) => {
    const text = [sent[place]].flat().at(-1) ?? "";
    const index = (count: unknown) => [...text].slice(0, count as number).join("").length;
    return row.map((span) => ({ ...span, start: index(span.start), end: index(span.end) }));
  });
}

function errorProblem(expected: ExpectedError, error: unknown, result: unknown): string {
  if (error === undefined) {
    return `no error, but ${String(result).slice(0, 200)}`;
  }
  if (!(error instanceof TritonClientError)) {
    return errorInWords(error);
  }
  const classes = [expected.class].flat().map((name) => (library as unknown as Json)[name]);
  if (!classes.some((kind) => error instanceof (kind as typeof TritonClientError))) {
    return `${error.name}, not ${[expected.class].flat().join(" or ")}: ${error.message}`;
  }
  if (error.attempts !== (expected.attempts ?? error.attempts)) {
    return `${error.attempts} attempts, not ${expected.attempts}: ${error.message}`;
  }
  // The names of options are each language's own.
  const words = (expected.contains ?? "").replace(/\w+_s\b/g, (name) => camelCase(`${name.slice(0, -2)}_ms`));
  return error.message.toLowerCase().includes(words.toLowerCase())
    ? ""
    : `no '${words}' in: ${error.message}`;
}

function errorInWords(error: unknown): string {
  const words = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return error instanceof TritonClientError ? words : `${words}, which is no error of the client's`;
}

async function runCase(test: Case, job: Job): Promise<Json> {
  try {
    return await outcomeWithProxies(test, job);
  } catch (error) {
    return { name: test.name, passed: false, why: `the runner failed: ${errorInWords(error)}`, took_s: 0 };
  }
}

async function outcomeWithProxies(test: Case, job: Job): Promise<Json> {
  const faults = test.endpoints ?? (test.faults ? [test.faults] : []);
  const proxies: { id: string; url: string }[] = [];
  try {
    for (const fault of faults) {
      proxies.push(
        (await ask(job, "POST", "/proxies", { faults: test.warm ? {} : fault })) as (typeof proxies)[0],
      );
    }
    const begin = async () => {
      for (const [place, proxy] of proxies.entries()) {
        await ask(job, "PUT", `/proxies/${proxy.id}`, { faults: faults[place] });
      }
    };
    const before = await executed(test, job.server);
    const urls = proxies.map((proxy) => proxy.url);
    const outcome = await outcomeOf(test, urls.length > 0 ? urls : [job.server], begin);
    const after = await executed(test, job.server);
    const times = Object.fromEntries(
      Object.keys(after).map((text) => [text, (after[text] ?? 0) - (before[text] ?? 0)]),
    );
    const [found, wanted] = [JSON.stringify(times), JSON.stringify(test.executed ?? {})];
    const why = problemOf(test, outcome) || (found === wanted ? "" : `executed ${found}, not ${wanted}`);
    return { name: test.name, passed: !why, why, took_s: Number(outcome.tookS.toFixed(3)) };
  } finally {
    for (const proxy of proxies) {
      await ask(job, "DELETE", `/proxies/${proxy.id}`);
    }
  }
}

/** How often the server itself says that it executed the texts. */
async function executed(test: Case, server: string): Promise<Record<string, number>> {
  const texts = Object.keys(test.executed ?? {});
  const client = new Client({ url: server });
  try {
    const counts = await client.embed(
      "moods",
      texts.map((text) => `count:${text}`),
    );
    return Object.fromEntries(texts.map((text, place) => [text, counts[place]?.[0] ?? Number.NaN]));
  } finally {
    client.close();
  }
}

async function ask(job: Job, method: string, path: string, content?: Json): Promise<unknown> {
  const body = content === undefined ? {} : { body: JSON.stringify(content) };
  const answer = await fetch(job.control + path, { method, ...body });
  if (!answer.ok) {
    throw new Error(`${method} ${path} answered ${answer.status}: ${await answer.text()}`);
  }
  return method === "POST" ? answer.json() : undefined;
}

const job = JSON.parse(readFileSync(0, "utf8")) as Job;
for (const path of job.cases) {
  for (const test of JSON.parse(readFileSync(path, "utf8")) as Case[]) {
    process.stdout.write(`${JSON.stringify(await runCase(test, job))}\n`);
  }
}
