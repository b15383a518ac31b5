/** The client that applications use. */

import { setTimeout as sleep } from "node:timers/promises";
import { status } from "@grpc/grpc-js";
import {
  batchesOfColumns,
  type Columns,
  columnsFromRows,
  countRows,
  inOrder,
  inputsFromRows,
  type Pair,
  type Row,
} from "./batching.js";
import { Course, type Wanted } from "./course.js";
import {
  DeadlineExceededError,
  InputTypeError,
  RequestCancelledError,
  ServerUnavailableError,
  UnexpectedAnswerError,
} from "./errors.js";
import { limitsFromConfig, type ModelLimits, type ModelState } from "./limits.js";
import { type ClientOptions, checkTimeout, type Settings, settingsFrom } from "./options.js";
import { together, windowed } from "./parallel.js";
import { type RequestOptions, requestFromInputs, shapesInWords, tensorsFromAnswer } from "./requests.js";
import * as service from "./service.js";
import { errorFromStatus } from "./status.js";
import {
  ANSWER,
  type Answer,
  CLASSIFY,
  checkTask,
  EMBED,
  type Entity,
  FILL_MASK,
  type Label,
  NEXT_TOKENS,
  resultsFrom,
  scoreOf,
  TAG,
  type Task,
  type Token,
} from "./tasks.js";
import type { TensorInputs, Tensors } from "./tensors.js";

const PROBE_TIMEOUT_MS = 2_000;
const POLL_INTERVAL_MS = 100;
const BATCHES_OF_A_WINDOW = 8;

/** What every call takes. */
export interface CallOptions {
  /** The deadline of each of the call's requests, where it isn't the client's. */
  readonly timeoutMs?: number | undefined;
  /** Cancels the call, on the server too. */
  readonly signal?: AbortSignal | undefined;
}

/** Which model is to be ready; without one the server. */
export interface ReadyOptions extends CallOptions {
  readonly model?: string | undefined;
}

export interface IterEmbedOptions extends CallOptions {
  /** Called with the number of rows that are done, again and again. */
  readonly progress?: ((done: number) => void) | undefined;
}

export interface ScoreOptions extends CallOptions {
  /** Whose score, where the model gives several. */
  readonly label?: string | undefined;
}

export interface InferOptions extends CallOptions, RequestOptions {}

/**
 * A connection to one Triton server over gRPC, or to several that serve the same models.
 *
 *     const client = new Client({ url: "127.0.0.1:8001" });
 *     const vectors = await client.embed("minilm", ["how do I deploy a model", "the cat sat"]);
 *     client.close();
 *
 * Every call may throw a `TritonClientError`; the classes below it say why.
 */
export class Client implements AsyncDisposable {
  readonly #settings: Settings;
  readonly #course: Course;
  readonly #limits = new Map<string, ModelLimits>();

  /** @throws {InvalidInputError} an option makes no sense */
  constructor(options: ClientOptions = {}) {
    this.#settings = settingsFrom(options);
    this.#course = new Course(this.#settings);
  }

  /** Close the connection, and cancel what is under way; a second time does nothing. */
  close(): void {
    this.#course.close();
  }

  /** Close the connection at the end of an `await using` block. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  /** Whether the server, or one model of it, takes requests now; false if nobody answers. */
  async isReady(options: ReadyOptions = {}): Promise<boolean> {
    const { model: name = "", timeoutMs = Math.min(this.#settings.timeoutMs, PROBE_TIMEOUT_MS) } = options;
    const wanted = { ...this.#wanted({ ...options, timeoutMs }, name), attempts: 1 };
    try {
      const answer = name
        ? await this.#course.request(service.MODEL_READY, () => ({ name, version: "" }), wanted)
        : await this.#course.request(service.SERVER_READY, () => ({}), wanted);
      return answer.ready;
    } catch (error) {
      if (error instanceof ServerUnavailableError || error instanceof DeadlineExceededError) {
        return false;
      }
      throw error;
    }
  }

  /**
   * Wait until the server, or one model of it, takes requests.
   *
   * @throws {ServerUnavailableError} it didn't within `timeoutMs`, 30 seconds if that is left out
   */
  async waitReady({ timeoutMs = 30_000, model, signal }: ReadyOptions = {}): Promise<void> {
    checkTimeout(timeoutMs);
    const deadline = performance.now() + timeoutMs;
    const leftMs = () => Math.max(1, deadline - performance.now());
    while (!(await this.isReady({ model, signal, timeoutMs: Math.min(leftMs(), PROBE_TIMEOUT_MS) }))) {
      if (performance.now() >= deadline) {
        throw new ServerUnavailableError(`not ready after ${timeoutMs} ms`, {
          model,
          endpoint: this.#settings.urls.join(", "),
          hint: "`tritonpack status` shows the servers on this machine and their models",
        });
      }
      await sleep(POLL_INTERVAL_MS, undefined, signal ? { signal } : {}).catch((cause: unknown) => {
        throw new RequestCancelledError("the call was cancelled", { model, status: "CANCELLED", cause });
      });
    }
  }

  /** Name and version of the server, e.g. `triton 2.51.0`. */
  async server(options: CallOptions = {}): Promise<string> {
    const answer = await this.#course.request(service.SERVER_METADATA, () => ({}), this.#wanted(options));
    return `${answer.name} ${answer.version}`;
  }

  /** The models of the server's repository, in alphabetical order, loaded or not. */
  async models(options: CallOptions = {}): Promise<ModelState[]> {
    const request = () => ({ repositoryName: "", ready: false });
    const index = await this.#course.request(service.REPOSITORY_INDEX, request, this.#wanted(options));
    const key = (state: ModelState) => `${state.name}\0${state.version}`;
    return index.models
      .map(({ name, version, state, reason }) => ({ name, version, state, reason }))
      .sort((a, b) => (key(a) < key(b) ? -1 : 1));
  }

  /**
   * What a model takes and gives. The answer is kept for the client's life.
   *
   * @throws {ModelNotFoundError} the server doesn't have the model, or hasn't loaded it
   */
  async limits(model: string, options: CallOptions = {}): Promise<ModelLimits> {
    const known = this.#limits.get(model);
    if (known) {
      return known;
    }
    const request = () => ({ name: model, version: "" });
    const answer = await this.#course.request(service.MODEL_CONFIG, request, this.#wanted(options, model));
    if (answer.config === undefined) {
      throw new UnexpectedAnswerError("the server answered no configuration", { model });
    }
    const limits = limitsFromConfig(answer.config);
    this.#limits.set(model, limits);
    return limits;
  }

  /**
   * Turn texts, or sounds, into vectors.
   *
   * Any number of them: they are sent in requests of at most the model's maximum batch, rows of similar length
   * together, several requests at a time.
   *
   * @param model gives `embedding` (rows, d) FP32
   * @returns for each row its vector of d numbers
   * @throws {InvalidInputError} a text can't be encoded, or the model doesn't embed texts
   */
  embed(
    model: string,
    rows: Iterable<string | Float32Array>,
    options: CallOptions = {},
  ): Promise<Float32Array[]> {
    return this.#task(EMBED, model, rows, options);
  }

  /**
   * Turn any number of texts into vectors, in order and in bounded memory: some hundred are held at a time, however
   * many there are. Leaving the iteration cancels what is under way.
   */
  async *iterEmbed(
    model: string,
    rows: Iterable<string | Float32Array> | AsyncIterable<string | Float32Array>,
    { progress, ...options }: IterEmbedOptions = {},
  ): AsyncGenerator<Float32Array, void> {
    if (typeof rows !== "object" || rows === null) {
      throw new InputTypeError(`the rows are one ${typeof rows}, not a list`, { model, hint: "Pass [text]" });
    }
    const limits = await this.#taskLimits(EMBED, model, options);
    const size = BATCHES_OF_A_WINDOW * limits.maxBatchSize;
    let done = 0;
    const windows = windowed(rows, size, options.signal, (window, first, signal) =>
      this.#results(EMBED, limits, columnsFromRows(limits, window, first), { ...options, signal }),
    );
    for await (const vectors of windows) {
      yield* vectors;
      done += vectors.length;
      progress?.(done);
    }
  }

  /**
   * Say what texts are, or pairs of texts where a model compares two.
   *
   * @param model gives `labels` and `scores`
   * @returns for each row its labels, the best first
   */
  classify(model: string, rows: Iterable<Row>, options: CallOptions = {}): Promise<Label[][]> {
    return this.#task(CLASSIFY, model, rows, options);
  }

  /**
   * Score pairs of texts, e.g. a question and what may answer it.
   *
   * @param model takes `text` and `text_pair`, and gives `labels` and `scores`
   * @returns for each pair its score
   * @throws {InvalidInputError} the model gives several scores and `label` is none of theirs
   */
  async scorePairs(
    model: string,
    pairs: Iterable<Pair>,
    { label, ...options }: ScoreOptions = {},
  ): Promise<Float32Array> {
    const labels = await this.#task(CLASSIFY, model, pairs, options);
    return Float32Array.from(labels, (row) => scoreOf(row, label, model));
  }

  /** Find entities: for each text those that it holds, in their order. */
  tag(model: string, texts: Iterable<string>, options: CallOptions = {}): Promise<Entity[][]> {
    return this.#task(TAG, model, texts, options);
  }

  /**
   * Find answers in texts.
   *
   * @param questions pairs of a question and the context that may answer it
   * @returns for each question its answers, the best first
   */
  answer(model: string, questions: Iterable<Pair>, options: CallOptions = {}): Promise<Answer[][]> {
    return this.#task(ANSWER, model, questions, options);
  }

  /** Say what may stand at the masks: for each text and each mask in it the tokens, the best first. */
  fillMask(model: string, texts: Iterable<string>, options: CallOptions = {}): Promise<Token[][][]> {
    return this.#task(FILL_MASK, model, texts, options);
  }

  /** Say what may follow: for each text the tokens, the best first. */
  nextTokens(model: string, texts: Iterable<string>, options: CallOptions = {}): Promise<Token[][]> {
    return this.#task(NEXT_TOKENS, model, texts, options);
  }

  /**
   * Send one request of raw tensors.
   *
   * @param inputs by name; shapes have the batch dimension if the model has one
   * @returns every output by name
   * @throws {InvalidInputError} a name that the model doesn't have, or an input that can't be sent
   * @throws {InvalidRequestError} the server refuses shape, type or batch size
   */
  async infer(model: string, inputs: TensorInputs, options: InferOptions = {}): Promise<Tensors> {
    return this.#infer(await this.limits(model, options), inputs, options);
  }

  /**
   * Send one request, and give its answers as they come: one of most models, any number of decoupled ones.
   *
   * Leaving the iteration cancels the request. It isn't sent again.
   */
  async *stream(
    model: string,
    inputs: TensorInputs,
    options: InferOptions = {},
  ): AsyncGenerator<Tensors, void> {
    const limits = await this.limits(model, options);
    const request = requestFromInputs(limits, inputs, options);
    const wanted = this.#wanted(options, model);
    for await (const answer of this.#course.stream(service.MODEL_STREAM_INFER, request, wanted)) {
      if (answer.errorMessage) {
        const endpoint = this.#settings.urls.join(", ");
        // Words alone. The header `triton_grpc_error` would bring a status, but Triton 2.51 crashes with it where a
        // model sends an error first and ends its answers afterwards.
        throw errorFromStatus(status.INTERNAL, answer.errorMessage, { model, endpoint, attempts: 1 });
      }
      if (answer.inferResponse && answer.inferResponse.outputs.length > 0) {
        yield tensorsFromAnswer(answer.inferResponse, model);
      }
    }
  }

  async #infer(limits: ModelLimits, inputs: TensorInputs, options: InferOptions): Promise<Tensors> {
    const request = requestFromInputs(limits, inputs, options);
    const wanted = { ...this.#wanted(options, limits.model), inWords: () => shapesInWords(request(0)) };
    // What a model remembers of a request it must not see twice.
    const trip = limits.stateful ? { ...wanted, attempts: 1 } : wanted;
    return tensorsFromAnswer(await this.#course.request(service.MODEL_INFER, request, trip), limits.model);
  }

  async #task<R>(task: Task<R>, model: string, rows: Iterable<Row>, options: CallOptions): Promise<R[]> {
    const limits = await this.#taskLimits(task, model, options);
    return this.#results(task, limits, columnsFromRows(limits, rows), options);
  }

  async #taskLimits(task: Task<unknown>, model: string, options: CallOptions): Promise<ModelLimits> {
    const limits = await this.limits(model, options);
    checkTask(task, limits);
    return limits;
  }

  /** The results of rows, in their order, from as many requests as it takes. */
  async #results<R>(
    task: Task<R>,
    limits: ModelLimits,
    columns: Columns,
    options: CallOptions,
  ): Promise<R[]> {
    const batches = batchesOfColumns(columns, limits.maxBatchSize);
    const outputs = Object.keys(task.outputs);
    const results = await together(
      batches,
      this.#settings.concurrency,
      options.signal,
      async (batch, signal) => {
        const inputs = inputsFromRows(columns, batch);
        const answer = await this.#infer(limits, inputs, { timeoutMs: options.timeoutMs, signal, outputs });
        return resultsFrom(task, answer, columns, batch, limits.model);
      },
    );
    return inOrder(batches, results, countRows(columns));
  }

  #wanted({ timeoutMs = this.#settings.timeoutMs, signal }: CallOptions, model = ""): Wanted {
    checkTimeout(timeoutMs);
    return { model, timeoutMs, signal };
  }
}
