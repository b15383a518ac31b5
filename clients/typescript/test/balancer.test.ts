import fc from "fast-check";
import { beforeEach, expect, test } from "vitest";
import { Balancer, type Ending, type Lease } from "../src/balancer.js";

let now = 1;
beforeEach(() => {
  now = 1;
});

function balancerOf(count: number): Balancer {
  return new Balancer(count, () => now);
}

/** Pick until it is this endpoint's turn. */
function pickOf(balancer: Balancer, index: number): Lease {
  const lease = balancer.pick();
  if (lease.index === index) {
    return lease;
  }
  const wanted = pickOf(balancer, index);
  lease.end("answered");
  return wanted;
}

function fail(balancer: Balancer, index: number): void {
  pickOf(balancer, index).end("dead");
}

test("idle endpoints take turns", () => {
  const balancer = balancerOf(3);
  const order = Array.from({ length: 6 }, () => {
    const lease = balancer.pick();
    lease.end("answered");
    return lease.index;
  });
  expect(order).toEqual([0, 1, 2, 0, 1, 2]);
});

test("the least busy is next", () => {
  const balancer = balancerOf(2);
  const [first, second] = [balancer.pick(), balancer.pick()];
  expect([first.index, second.index]).toEqual([0, 1]);
  second.end("answered");
  expect(balancer.pick().index).toBe(1);
});

test("a dead endpoint is left alone for a second, then probed by one request", () => {
  const balancer = balancerOf(2);
  fail(balancer, 0);
  expect(balancer.hasOther(1)).toBe(false);
  expect([balancer.pick().index, balancer.pick().index]).toEqual([1, 1]);
  now += 1000;
  const probe = balancer.pick();
  expect(probe.index).toBe(0);
  expect(balancer.pick().index).toBe(1);
  probe.end("answered");
  expect(balancer.pick().index).toBe(0);
});

test("ejections double up to thirty seconds, and an answer forgets them", () => {
  const balancer = balancerOf(2);
  for (const seconds of [1, 2, 4, 8, 16, 30, 30]) {
    fail(balancer, 0);
    now += seconds * 1000 - 1;
    expect(balancer.hasOther(1)).toBe(false);
    now += 1;
    expect(balancer.hasOther(1)).toBe(true);
  }
  pickOf(balancer, 0).end("answered");
  fail(balancer, 0);
  now += 1000;
  expect(balancer.hasOther(1)).toBe(true);
});

test("requests that fail together are one failure", () => {
  const balancer = balancerOf(1);
  const leases = Array.from({ length: 8 }, () => balancer.pick());
  for (const lease of leases) {
    lease.end("dead");
  }
  now += 1000;
  expect(balancer.hasOther(-1)).toBe(true);
});

test("a probe that says nothing lets another one go", () => {
  const balancer = balancerOf(2);
  fail(balancer, 0);
  now += 1000;
  pickOf(balancer, 0).end("unknown");
  expect(pickOf(balancer, 0).index).toBe(0);
});

test("if all are ejected, the one that returns soonest is tried", () => {
  const balancer = balancerOf(2);
  fail(balancer, 1);
  now += 100;
  fail(balancer, 0);
  expect(balancer.pick().index).toBe(1);
});

test("whatever happens, there is always somewhere to go and nothing is counted twice", () => {
  const endings = fc.constantFrom<Ending>("answered", "dead", "unknown");
  const step = fc.record({ pick: fc.boolean(), which: fc.nat(20), ending: endings, later: fc.nat(3000) });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), fc.array(step, { maxLength: 60 }), (count, steps) => {
      const balancer = balancerOf(count);
      const open: Lease[] = [];
      for (const { pick, which, ending, later } of steps) {
        now += later;
        if (pick || open.length === 0) {
          const lease = balancer.pick();
          expect(lease.index).toBeGreaterThanOrEqual(0);
          expect(lease.index).toBeLessThan(count);
          open.push(lease);
        } else {
          open.splice(which % open.length, 1)[0]?.end(ending);
        }
      }
    }),
  );
});
