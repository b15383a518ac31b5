/** What the conformance cases don't say: cancelling, closing, connections, memory. */

import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, expect, test } from "vitest";
import { Client, InvalidRequestError, RequestCancelledError } from "../../src/index.js";
import { SERVER } from "./address.js";

const client = new Client({ url: SERVER, timeoutMs: 20_000 });
afterAll(() => client.close());

async function executed(text: string): Promise<number> {
  const [vector] = await client.embed("moods", [`count:${text}`]);
  return vector?.[0] ?? Number.NaN;
}

test("a cancelled call ends at once, and what wasn't sent is never executed", async () => {
  const controller = new AbortController();
  const texts = Array.from({ length: 200 }, (_, place) => `sleep:0.2:cancelled ${place}`);
  await using narrow = new Client({ url: SERVER, concurrency: 1 });
  const call = narrow.embed("moods", texts, { signal: controller.signal });
  await sleep(300);
  controller.abort("enough");
  await expect(call).rejects.toMatchObject({
    name: "RequestCancelledError",
    model: expect.any(String),
    cause: "enough",
  });
  expect(await executed("sleep:0.2:cancelled 199")).toBe(0);
});

test("a stream can be cancelled between two answers", async () => {
  const controller = new AbortController();
  const words: unknown[] = [];
  const read = async () => {
    for await (const part of client.stream(
      "words",
      { text: ["one sleep:1 two"] },
      { signal: controller.signal },
    )) {
      words.push(part);
      controller.abort();
    }
  };
  await expect(read()).rejects.toThrow(RequestCancelledError);
  expect(words).toHaveLength(1);
});

test("a stream may be left", async () => {
  for await (const part of client.stream("words", { text: ["one two three"] })) {
    expect(part.word?.datatype).toBe("BYTES");
    break;
  }
  expect(await client.isReady()).toBe(true);
});

test("closing cancels what is under way", async () => {
  const closed = new Client({ url: SERVER });
  const call = closed.embed("moods", ["sleep:3:closed"]);
  await sleep(200);
  closed.close();
  await expect(call).rejects.toThrow(RequestCancelledError);
});

test("many texts of an endless iterator are embedded in order, and leaving it is clean", async () => {
  let taken = 0;
  async function* texts(): AsyncGenerator<string> {
    for (;;) {
      taken += 1;
      yield `text ${taken}`;
    }
  }
  const progress: number[] = [];
  let given = 0;
  for await (const vector of client.iterEmbed("hash", texts(), { progress: (done) => progress.push(done) })) {
    given += 1;
    expect(vector).toHaveLength(8);
    expect(taken - given).toBeLessThanOrEqual(64);
    if (given === 1000) {
      expect(vector).toEqual((await client.embed("hash", ["text 1000"]))[0]);
      break;
    }
  }
  expect(progress).toEqual([...progress].sort((a, b) => a - b));
});

test("calls share a client", async () => {
  const calls = Array.from({ length: 20 }, async (_, call) => {
    const texts = Array.from({ length: 30 }, (_, place) => `${call}-${place}`);
    return (await client.embed("hash", texts)).length;
  });
  expect(await Promise.all(calls)).toEqual(new Array(20).fill(30));
});

test.each(["gzip", "deflate"] as const)("requests compressed by %s", async (compression) => {
  await using compressed = new Client({ url: SERVER, compression });
  expect(await compressed.embed("hash", ["text"])).toEqual(await client.embed("hash", ["text"]));
});

test("the server's words, or the request's shapes where they got lost", async () => {
  const wrong = client.infer("echo", { in_fp32: { data: new Float32Array(3), shape: [3] } });
  await expect(wrong).rejects.toThrow(/shapes are in_fp32 FP32 \[3\]/);
  await expect(wrong).rejects.toThrow(InvalidRequestError);
});

test("a sequence has a number", async () => {
  const parameters = { sequence_id: 7n, sequence_start: true, sequence_end: true };
  const outputs = await client.infer("stateful", { text: ["a"] }, { parameters });
  expect(outputs.embedding?.shape).toEqual([1, 1]);
});

test("only the outputs that were asked for", async () => {
  const outputs = await client.infer("labels", { text: ["a"] }, { outputs: ["scores"] });
  expect(Object.keys(outputs)).toEqual(["scores"]);
});

test("headers are asked for before each attempt", async () => {
  let asked = 0;
  const headers = () => ({
    traceparent: `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0${asked++ % 2}`,
  });
  await using traced = new Client({ url: ["127.0.0.1:1", SERVER], headers });
  await traced.server();
  expect(asked).toBe(2);
});
