/** Which endpoint takes the next request: pure rules, with the clock passed in. */

const FIRST_EJECTION_MS = 1_000;
const LONGEST_EJECTION_MS = 30_000;

/** How a request ended, for its endpoint: it answered, nobody was there, or nothing is known. */
export type Ending = "answered" | "dead" | "unknown";

interface Endpoint {
  inFlight: number;
  /** When it may be tried again; 0 while it isn't ejected. */
  ejectedUntil: number;
  ejectionMs: number;
  /** A request is on its way that tells whether it is back. */
  probed: boolean;
}

/** One request's hold on an endpoint; `end` is called once. */
export interface Lease {
  readonly index: number;
  end(ending: Ending): void;
}

/**
 * The endpoint with the fewest requests in flight, ties by turns.
 *
 * An endpoint where nobody answers is ejected for a second, then for twice as long each time, up to 30 seconds;
 * afterwards one request probes it. If all are ejected, the one that returns soonest is tried.
 */
export class Balancer {
  readonly #endpoints: Endpoint[];
  readonly #now: () => number;
  #turn = 0;

  /**
   * @param count how many endpoints there are
   * @param now a monotonic clock, in milliseconds
   */
  constructor(count: number, now: () => number) {
    this.#endpoints = Array.from({ length: count }, () => ({
      inFlight: 0,
      ejectedUntil: 0,
      ejectionMs: 0,
      probed: false,
    }));
    this.#now = now;
  }

  pick(): Lease {
    const now = this.#now();
    const index = this.#leastBusy(now) ?? this.#soonest();
    const endpoint = this.#endpoints[index] as Endpoint;
    const probe = endpoint.ejectedUntil > 0 && endpoint.ejectedUntil <= now && !endpoint.probed;
    endpoint.probed ||= probe;
    endpoint.inFlight += 1;
    this.#turn = (index + 1) % this.#endpoints.length;
    return { index, end: (ending) => this.#end(endpoint, ending, probe) };
  }

  /** Whether another endpoint could be asked now. */
  hasOther(index: number): boolean {
    const now = this.#now();
    return this.#endpoints.some((endpoint, other) => other !== index && endpoint.ejectedUntil <= now);
  }

  #leastBusy(now: number): number | undefined {
    let best: number | undefined;
    let fewest = Number.POSITIVE_INFINITY;
    for (let step = 0; step < this.#endpoints.length; step += 1) {
      const index = (this.#turn + step) % this.#endpoints.length;
      const { inFlight, ejectedUntil, probed } = this.#endpoints[index] as Endpoint;
      const open = ejectedUntil === 0 || (ejectedUntil <= now && !probed);
      if (open && inFlight < fewest) {
        [best, fewest] = [index, inFlight];
      }
    }
    return best;
  }

  #soonest(): number {
    const times = this.#endpoints.map((endpoint) => endpoint.ejectedUntil);
    return times.indexOf(Math.min(...times));
  }

  #end(endpoint: Endpoint, ending: Ending, probe: boolean): void {
    endpoint.inFlight -= 1;
    if (probe) {
      endpoint.probed = false;
    }
    if (ending === "answered") {
      endpoint.ejectedUntil = 0;
      endpoint.ejectionMs = 0;
    } else if (ending === "dead" && endpoint.ejectedUntil <= this.#now()) {
      // Requests that fail while it is ejected tell nothing new: they were sent before, or had no other choice.
      endpoint.ejectionMs = Math.min(LONGEST_EJECTION_MS, endpoint.ejectionMs * 2 || FIRST_EJECTION_MS);
      endpoint.ejectedUntil = this.#now() + endpoint.ejectionMs;
    }
  }
}
