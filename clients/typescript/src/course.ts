/** The course of one request: its attempts, one deadline over all of them, and the error at the end. */

import { setTimeout as sleep } from "node:timers/promises";
import { status } from "@grpc/grpc-js";
import { Balancer, type Ending, type Lease } from "./balancer.js";
import { Endpoint, Failure, type Sending } from "./endpoint.js";
import { RequestCancelledError, ServerUnavailableError, type TritonClientError } from "./errors.js";
import type { Settings } from "./options.js";
import { pauseMs, RetryBudget } from "./retries.js";
import type { Method } from "./service.js";
import { errorFromStatus } from "./status.js";

// Node's timers take no longer time.
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** What a request wants besides its message. */
export interface Wanted {
  readonly model: string;
  readonly timeoutMs: number;
  /** The most attempts, where the client's retries don't apply. */
  readonly attempts?: number | undefined;
  readonly signal: AbortSignal | undefined;
  /** What was sent, where the server gives no reason. */
  readonly inWords?: () => string;
}

/** A request on its way. */
interface Trip extends Wanted {
  readonly deadline: number;
  readonly most: number;
  attempt: number;
}

export class Course {
  readonly #settings: Settings;
  readonly #endpoints: readonly Endpoint[];
  readonly #balancer: Balancer;
  readonly #budget: RetryBudget;
  #closed = false;

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#endpoints = settings.urls.map((url) => new Endpoint(url, settings));
    this.#balancer = new Balancer(settings.urls.length, () => performance.now());
    this.#budget = new RetryBudget(settings.retries.budget);
  }

  close(): void {
    this.#closed = true;
    for (const endpoint of this.#endpoints) {
      endpoint.close();
    }
  }

  /**
   * Send a message until it is answered, or until there is nothing left to try.
   *
   * @param request makes the message, told how much of the deadline is left
   * @throws {TritonClientError} the error of the last attempt
   */
  async request<Q, A>(method: Method<Q, A>, request: (leftMs: number) => Q, wanted: Wanted): Promise<A> {
    const trip = this.#trip(wanted);
    for (;;) {
      const [lease, sending] = this.#depart(trip);
      let outcome: A | Failure = new Failure(status.UNKNOWN, "the request couldn't be made");
      try {
        const endpoint = this.#endpoints[lease.index] as Endpoint;
        outcome = await endpoint.unary(method, request(sending.leftMs), sending);
      } finally {
        lease.end(endingOf(outcome));
      }
      if (!(outcome instanceof Failure)) {
        return outcome;
      }
      await this.#afterFailure(outcome, lease, trip);
    }
  }

  /** Send a message once, and give its answers as they come. */
  async *stream<Q, A>(
    method: Method<Q, A>,
    request: (leftMs: number) => Q,
    wanted: Wanted,
  ): AsyncGenerator<A, void> {
    const trip = this.#trip({ ...wanted, attempts: 1 });
    const [lease, sending] = this.#depart(trip);
    let ending: Ending = "unknown";
    try {
      const endpoint = this.#endpoints[lease.index] as Endpoint;
      for await (const answer of endpoint.stream(method, request(sending.leftMs), sending)) {
        ending = endingOf(answer);
        if (answer instanceof Failure) {
          throw this.#errorOf(answer, lease, trip);
        }
        yield answer;
      }
    } finally {
      lease.end(ending);
    }
  }

  #trip(wanted: Wanted): Trip {
    this.#budget.earn();
    const most = wanted.attempts ?? this.#settings.retries.attempts;
    return { ...wanted, deadline: performance.now() + wanted.timeoutMs, most, attempt: 0 };
  }

  /** Before an attempt: where it goes, and with what. */
  #depart(trip: Trip): [Lease, Sending] {
    const { signal, model } = trip;
    if (signal?.aborted) {
      throw cancelled(trip, "", signal.reason);
    }
    if (this.#closed) {
      throw new RequestCancelledError("the client is closed", { model });
    }
    const headers = this.#settings.headers();
    trip.attempt += 1;
    const leftMs = Math.max(1, trip.deadline - performance.now());
    return [this.#balancer.pick(), { leftMs, headers, signal }];
  }

  #errorOf(failure: Failure, lease: Lease, trip: Trip): TritonClientError {
    const endpoint = this.#settings.urls[lease.index] ?? "";
    if (trip.signal?.aborted) {
      return cancelled(trip, endpoint, trip.signal.reason);
    }
    const { model, attempt: attempts, most: maxAttempts } = trip;
    const facts = { model, endpoint, attempts, maxAttempts, cause: failure.cause };
    // Node.js drops header lines that end in a space, and with them some of Triton's words.
    const words = failure.words || `no reason came with it; ${trip.inWords?.() ?? "the server's log has it"}`;
    return errorFromStatus(failure.code, words, facts);
  }

  /** Throw the error of a failed attempt, or return after the pause before the next one. */
  async #afterFailure(failure: Failure, lease: Lease, trip: Trip): Promise<void> {
    const error = this.#errorOf(failure, lease, trip);
    const pause = this.#pauseMs(error, lease, trip);
    if (pause === undefined) {
      throw error;
    }
    if (pause > 0) {
      await sleep(
        Math.min(pause, LONGEST_TIMER_MS),
        undefined,
        trip.signal ? { signal: trip.signal } : {},
      ).catch((reason: Error) => {
        throw cancelled(trip, error.endpoint, reason.cause);
      });
    }
  }

  #pauseMs(error: TritonClientError, lease: Lease, trip: Trip): number | undefined {
    if (!(error instanceof ServerUnavailableError) || trip.attempt >= trip.most || this.#closed) {
      return undefined;
    }
    const elsewhere = this.#balancer.hasOther(lease.index);
    const pause = elsewhere ? 0 : pauseMs(this.#settings.retries, trip.attempt, Math.random());
    return performance.now() + pause < trip.deadline && this.#budget.spend() ? pause : undefined;
  }
}

/** What an outcome says of its endpoint. */
function endingOf(outcome: unknown): Ending {
  if (!(outcome instanceof Failure)) {
    return "answered";
  }
  if (errorFromStatus(outcome.code, outcome.words) instanceof ServerUnavailableError) {
    return "dead";
  }
  const silent = [status.CANCELLED, status.DEADLINE_EXCEEDED, status.UNKNOWN];
  return outcome.code === undefined || silent.includes(outcome.code) ? "unknown" : "answered";
}

function cancelled(trip: Trip, endpoint: string, cause: unknown): RequestCancelledError {
  const { model, attempt: attempts, most: maxAttempts } = trip;
  const facts = { model, endpoint, attempts, maxAttempts, status: "CANCELLED", cause };
  return new RequestCancelledError("the call was cancelled", facts);
}
