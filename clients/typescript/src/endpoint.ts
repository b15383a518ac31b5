/** The only file that speaks to grpc-js: one connection, whose requests end in an answer or a `Failure`. */

import { Client, Metadata, type ServiceError } from "@grpc/grpc-js";
import type { Settings } from "./options.js";
import type { Method } from "./service.js";

/** Why a message has no answer: a gRPC status, and the server's or the transport's own words. */
export class Failure {
  constructor(
    readonly code: number | undefined,
    readonly words: string,
    readonly cause?: unknown,
  ) {}
}

/** How one attempt is sent. */
export interface Sending {
  /** What is left of the deadline. */
  readonly leftMs: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal | undefined;
}

export class Endpoint {
  readonly #client: Client;
  /** What cancels each call that is under way. */
  readonly #live = new Set<() => void>();

  constructor(url: string, settings: Settings) {
    this.#client = new Client(url, settings.credentials, settings.channel);
  }

  /** Close the connection, and cancel what is under way. */
  close(): void {
    for (const cancel of this.#live) {
      cancel();
    }
    this.#client.close();
  }

  /** Send one message and wait for its answer; an abort of the signal reaches the server. */
  unary<Q, A>(method: Method<Q, A>, request: Q, sending: Sending): Promise<A | Failure> {
    return new Promise((resolve) => {
      const { signal } = sending;
      const call = this.#client.makeUnaryRequest(
        method.path,
        method.encode,
        method.decode,
        request,
        metadataFrom(sending.headers),
        { deadline: Date.now() + sending.leftMs },
        (error, answer) => {
          this.#ended(cancel, signal);
          resolve(error || answer === undefined ? failureFrom(error) : answer);
        },
      );
      const cancel = () => call.cancel();
      this.#began(cancel, signal);
    });
  }

  /** Send one message and give its answers as they come; a failure is the last of them. */
  async *stream<Q, A>(method: Method<Q, A>, request: Q, sending: Sending): AsyncGenerator<A | Failure, void> {
    const { signal } = sending;
    const call = this.#client.makeBidiStreamRequest(
      method.path,
      method.encode,
      method.decode,
      metadataFrom(sending.headers),
      { deadline: Date.now() + sending.leftMs },
    );
    const cancel = () => call.cancel();
    // An iteration that was left early has nobody else who takes the error of its cancelling.
    call.on("error", () => {});
    this.#began(cancel, signal);
    try {
      call.write(request);
      call.end();
      yield* call as AsyncIterable<A>;
    } catch (error) {
      yield failureFrom(error as ServiceError);
    } finally {
      this.#ended(cancel, signal);
      cancel();
    }
  }

  #began(cancel: () => void, signal: AbortSignal | undefined): void {
    this.#live.add(cancel);
    signal?.addEventListener("abort", cancel, { once: true });
    if (signal?.aborted) {
      cancel();
    }
  }

  #ended(cancel: () => void, signal: AbortSignal | undefined): void {
    this.#live.delete(cancel);
    signal?.removeEventListener("abort", cancel);
  }
}

function metadataFrom(headers: Readonly<Record<string, string>>): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) {
    metadata.set(name, value);
  }
  return metadata;
}

function failureFrom(error: ServiceError | null): Failure {
  return new Failure(error?.code, error?.details ?? error?.message ?? "", error ?? undefined);
}
