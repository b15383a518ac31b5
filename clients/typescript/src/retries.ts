/** When a request is sent again: pure rules, with the source of chance passed in. */

import { InvalidInputError } from "./errors.js";

/** How often, and after which pauses, a request is sent again that nobody answered. */
export interface RetryOptions {
  /** The most times that one request is sent, the first included. 1 turns retries off. Default 5. */
  readonly attempts?: number;
  /** The longest pause before the second attempt, in milliseconds. Default 100. */
  readonly firstPauseMs?: number;
  /** How much longer the next pause may be. Default 2. */
  readonly growth?: number;
  /** The longest pause of all, in milliseconds. Default 2000. */
  readonly maxPauseMs?: number;
  /** Retries per request over the client's life, so that a dead server isn't flooded. Default 0.2. */
  readonly budget?: number;
}

export type Retries = Required<RetryOptions>;

/** Fill in the defaults and refuse what makes no sense. */
export function retriesFrom(options: RetryOptions = {}): Retries {
  const retries = { attempts: 5, firstPauseMs: 100, growth: 2, maxPauseMs: 2000, budget: 0.2, ...options };
  const sound =
    Number.isInteger(retries.attempts) &&
    retries.attempts >= 1 &&
    retries.firstPauseMs >= 0 &&
    retries.growth >= 1 &&
    retries.maxPauseMs >= 0 &&
    retries.budget >= 0;
  if (!sound) {
    throw new InvalidInputError(`retries make no sense: ${JSON.stringify(retries)}`, {
      hint: "attempts at least 1, growth at least 1, pauses and budget not negative",
    });
  }
  return retries;
}

/**
 * The pause after an attempt, in milliseconds: anything from nothing to the limit ("full jitter"), so that clients
 * that failed together don't come back together.
 *
 * @param attempt the attempt that failed, from 1
 * @param random from 0 to 1
 */
export function pauseMs(retries: Retries, attempt: number, random: number): number {
  return random * Math.min(retries.maxPauseMs, retries.firstPauseMs * retries.growth ** (attempt - 1));
}

const MOST_STORED = 10;

/** A bucket of retries: each request puts a share in, each retry takes a whole one. It starts full. */
export class RetryBudget {
  #stored = MOST_STORED;
  readonly #share: number;

  constructor(share: number) {
    this.#share = share;
  }

  /** A new request. */
  earn(): void {
    this.#stored = Math.min(MOST_STORED, this.#stored + this.#share);
  }

  /** Take one retry out, if there is one. */
  spend(): boolean {
    if (this.#stored < 1) {
      return false;
    }
    this.#stored -= 1;
    return true;
  }
}
