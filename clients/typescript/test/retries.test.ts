import fc from "fast-check";
import { expect, test } from "vitest";
import { InvalidInputError } from "../src/errors.js";
import { pauseMs, RetryBudget, retriesFrom } from "../src/retries.js";

test("the defaults", () => {
  expect(retriesFrom()).toEqual({ attempts: 5, firstPauseMs: 100, growth: 2, maxPauseMs: 2000, budget: 0.2 });
});

test.each([{ attempts: 0 }, { attempts: 1.5 }, { firstPauseMs: -1 }, { growth: 0.5 }, { budget: -1 }])(
  "%j makes no sense",
  (options) => {
    expect(() => retriesFrom(options)).toThrow(InvalidInputError);
  },
);

test("pauses grow to their limit", () => {
  const longest = [1, 2, 3, 4, 5, 6, 7].map((attempt) => pauseMs(retriesFrom(), attempt, 1));
  expect(longest).toEqual([100, 200, 400, 800, 1600, 2000, 2000]);
});

test("a pause is anything up to its limit", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5000 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (attempt, random) => {
        const pause = pauseMs(retriesFrom(), attempt, random);
        expect(pause).toBeGreaterThanOrEqual(0);
        expect(pause).toBeLessThanOrEqual(2000);
      },
    ),
  );
});

test("ten retries are stored, and five requests earn one more", () => {
  const budget = new RetryBudget(0.25);
  budget.earn();
  expect(Array.from({ length: 12 }, () => budget.spend()).filter(Boolean)).toHaveLength(10);
  for (let request = 0; request < 4; request += 1) {
    expect(budget.spend()).toBe(false);
    budget.earn();
  }
  expect([budget.spend(), budget.spend()]).toEqual([true, false]);
});
