/** Several things at a time, results in order. */

import { setMaxListeners } from "node:events";
import { RequestCancelledError } from "./errors.js";

/**
 * Do `work` for every item, at most `concurrency` at a time. The first failure cancels the rest, and is thrown when
 * all of them have ended.
 *
 * @param signal cancels everything
 * @returns the results in the order of the items
 */
export async function together<T, R>(
  items: readonly T[],
  concurrency: number,
  signal: AbortSignal | undefined,
  work: (item: T, signal: AbortSignal) => Promise<R>,
): Promise<R[]> {
  const scope = new Scope(signal);
  const results = new Array<R>(items.length);
  const waiting = items.entries();
  const failures: unknown[] = [];
  const worker = async (): Promise<void> => {
    // The iterator is shared: each worker takes the next item that nobody has.
    for (const [place, item] of waiting) {
      scope.signal.throwIfAborted();
      results[place] = await work(item, scope.signal);
    }
  };
  const workers = Array.from({ length: Math.min(concurrency, items.length) }, async () => {
    try {
      await worker();
    } catch (error) {
      failures.push(error);
      scope.cancel();
    }
  });
  await Promise.all(workers);
  scope.end();
  if (signal?.aborted) {
    throw cancelledBy(signal);
  }
  if (failures.length > 0) {
    throw failures[0];
  }
  return results;
}

/**
 * Do `work` for every window of items, the next one while the one before it is given out; results in order.
 *
 * At most two windows of items are held at any time. A consumer that stops early cancels the work.
 *
 * @param size items of a window
 * @param signal cancels everything
 * @param work is told the number of the window's first item
 */
export async function* windowed<T, R>(
  items: Iterable<T> | AsyncIterable<T>,
  size: number,
  signal: AbortSignal | undefined,
  work: (window: T[], first: number, signal: AbortSignal) => Promise<R[]>,
): AsyncGenerator<R[], void> {
  const scope = new Scope(signal);
  const windows = windowsOf(items, size);
  let first = 0;
  const start = async (): Promise<R[] | undefined> => {
    const window = (await scope.unlessCancelled(windows.next())).value;
    if (window === undefined) {
      return undefined;
    }
    first += window.length;
    return await work(window, first - window.length, scope.signal);
  };
  let ahead = start();
  try {
    for (let results = await ahead; results !== undefined; results = await ahead) {
      ahead = start();
      // Its failure is thrown where it is awaited; until then it isn't an unhandled one.
      ahead.catch(() => {});
      yield results;
    }
  } catch (error) {
    throw signal?.aborted ? cancelledBy(signal) : error;
  } finally {
    scope.cancel();
    scope.end();
    await ahead.catch(() => {});
    // Not awaited: items that never come would keep the caller waiting.
    windows.return(undefined).catch(() => {});
  }
}

async function* windowsOf<T>(
  items: Iterable<T> | AsyncIterable<T>,
  size: number,
): AsyncGenerator<T[], undefined> {
  let window: T[] = [];
  for await (const item of items) {
    window.push(item);
    if (window.length === size) {
      yield window;
      window = [];
    }
  }
  if (window.length > 0) {
    yield window;
  }
}

function cancelledBy(signal: AbortSignal): RequestCancelledError {
  return new RequestCancelledError("the call was cancelled", { status: "CANCELLED", cause: signal.reason });
}

/** A signal of one call's own, which the caller's signal aborts too. */
class Scope {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal | undefined;
  readonly #forward = () => this.#controller.abort(this.#outer?.reason);

  constructor(outer: AbortSignal | undefined) {
    this.#outer = outer;
    // As many listeners as requests in flight are no leak.
    setMaxListeners(0, this.signal, ...(outer ? [outer] : []));
    outer?.addEventListener("abort", this.#forward, { once: true });
    if (outer?.aborted) {
      this.#forward();
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  cancel(): void {
    this.#controller.abort();
  }

  end(): void {
    this.#outer?.removeEventListener("abort", this.#forward);
  }

  /** What a promise gives, or the signal's reason if that comes first. */
  unlessCancelled<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const stop = () => reject(this.signal.reason);
      this.signal.addEventListener("abort", stop, { once: true });
      if (this.signal.aborted) {
        stop();
      }
      promise.then(resolve, reject).finally(() => this.signal.removeEventListener("abort", stop));
    });
  }
}
