import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { expect, test } from "vitest";
import { RequestCancelledError } from "../src/errors.js";
import { together, windowed } from "../src/parallel.js";

async function collected<T>(parts: AsyncIterable<T[]>): Promise<T[]> {
  const all: T[] = [];
  for await (const part of parts) {
    all.push(...part);
  }
  return all;
}

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(new Error("aborted")), { once: true });
  });
}

test("results are in order, and no more are under way than may be", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(3)), fc.integer({ min: 1, max: 5 }), async (turns, concurrency) => {
      let running = 0;
      const results = await together([...turns.keys()], concurrency, undefined, async (item) => {
        running += 1;
        expect(running).toBeLessThanOrEqual(concurrency);
        for (let turn = 0; turn < (turns[item] ?? 0); turn += 1) {
          await Promise.resolve();
        }
        running -= 1;
        return item;
      });
      expect(results).toEqual([...turns.keys()]);
    }),
  );
});

test("the first failure cancels the rest and begins nothing more", async () => {
  const begun: number[] = [];
  const work = async (item: number, signal: AbortSignal) => {
    begun.push(item);
    if (item === 1) {
      throw new Error("first");
    }
    return untilAborted(signal);
  };
  await expect(together([0, 1, 2, 3, 4], 3, undefined, work)).rejects.toThrow("first");
  expect(begun).toEqual([0, 1, 2]);
});

test("the caller's signal cancels everything, and is the cause", async () => {
  const controller = new AbortController();
  const whole = together([1, 2], 2, controller.signal, (_, signal) => untilAborted(signal));
  controller.abort("enough");
  await expect(whole).rejects.toMatchObject({ name: "RequestCancelledError", cause: "enough" });
  await expect(together([], 2, controller.signal, async () => 1)).rejects.toThrow(RequestCancelledError);
});

test("windows give everything in order", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat()), fc.integer({ min: 1, max: 5 }), async (items, size) => {
      const firsts: number[] = [];
      const parts = windowed(items, size, undefined, async (window, first) => {
        expect(window.length).toBeLessThanOrEqual(size);
        firsts.push(first);
        return window;
      });
      expect(await collected(parts)).toEqual(items);
      expect(firsts).toEqual(firsts.map((_, part) => part * size));
    }),
  );
});

test("items are taken no further than two windows ahead", async () => {
  let taken = 0;
  function* items(): Generator<number> {
    for (;;) {
      taken += 1;
      yield taken;
    }
  }
  let given = 0;
  for await (const part of windowed(items(), 10, undefined, async (window) => window)) {
    given += part.length;
    await sleep(1);
    expect(taken - given).toBeLessThanOrEqual(20);
    if (given >= 100) {
      break;
    }
  }
  expect(given).toBe(100);
});

test("who leaves early cancels what is under way and ends the items", async () => {
  let ended = false;
  let cancelled = false;
  function* items(): Generator<number> {
    try {
      for (;;) {
        yield 1;
      }
    } finally {
      ended = true;
    }
  }
  const work = async (window: number[], first: number, signal: AbortSignal) => {
    if (first > 0) {
      await untilAborted(signal).catch(() => {
        cancelled = true;
      });
    }
    return window;
  };
  for await (const _ of windowed(items(), 2, undefined, work)) {
    await sleep(1);
    break;
  }
  await sleep(1);
  expect([ended, cancelled]).toEqual([true, true]);
});

test("items that never come keep nobody who leaves or cancels", async () => {
  async function* items(): AsyncGenerator<number> {
    yield 1;
    await new Promise(() => {});
  }
  for await (const part of windowed(items(), 1, undefined, async (window) => window)) {
    expect(part).toEqual([1]);
    break;
  }
  const controller = new AbortController();
  const whole = collected(windowed(items(), 1, controller.signal, async (window) => window));
  setTimeout(() => controller.abort(), 5);
  await expect(whole).rejects.toThrow(RequestCancelledError);
});

test("a failure of the items or of the work is thrown, after what came before", async () => {
  function* items(): Generator<number> {
    yield* [1, 2, 3];
    throw new Error("no more");
  }
  const given: number[] = [];
  const whole = async () => {
    for await (const part of windowed(items(), 2, undefined, async (window) => window)) {
      given.push(...part);
    }
  };
  await expect(whole()).rejects.toThrow("no more");
  expect(given).toEqual([1, 2]);
});
