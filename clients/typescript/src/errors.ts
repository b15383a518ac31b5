/**
 * Every error that the client raises on purpose.
 *
 *     TritonClientError
 *     ├── InvalidInputError            what the caller passed can't be sent
 *     │   └── InputTypeError           it has the wrong type, e.g. a bare string for a list
 *     ├── InvalidRequestError          the server refuses the request: shape, type, batch size
 *     ├── ModelNotFoundError           the server doesn't have the model, or hasn't loaded it
 *     ├── AccessDeniedError            the server wants other credentials
 *     ├── NotSupportedError            the server doesn't offer this call
 *     ├── OverloadedError              the server has no room: a full queue, memory
 *     │   └── QueueTimeoutError        it had room, but didn't come to the request in time
 *     ├── ServerUnavailableError       nobody answers at the endpoint
 *     ├── DeadlineExceededError        no answer in time
 *     ├── RequestCancelledError        the call was cancelled
 *     ├── ServerFailureError           the server or the model broke
 *     └── UnexpectedAnswerError        an answer came, but not the one that the model's configuration promises
 */

/** The facts of an error, beside what happened. */
export interface ErrorFacts {
  /** The model of the request, if there is one. */
  readonly model?: string | undefined;
  /** The server's `host:port`. */
  readonly endpoint?: string | undefined;
  /** How many attempts were made; 0 if nothing was sent. */
  readonly attempts?: number | undefined;
  /** The most attempts that would have been made. */
  readonly maxAttempts?: number | undefined;
  /** What the reader can do about it. */
  readonly hint?: string | undefined;
  /** Name of the gRPC status, e.g. `UNAVAILABLE`; empty if the error isn't a status. */
  readonly status?: string | undefined;
  readonly cause?: unknown;
}

/** The root. `error.message` is the whole message: what happened, where, and what to do. */
export class TritonClientError extends Error {
  override readonly name: string = "TritonClientError";
  /** What happened, in the server's own words if they are its. */
  readonly reason: string;
  readonly model: string;
  readonly endpoint: string;
  /** How many attempts were made; 0 if nothing was sent. */
  readonly attempts: number;
  /** The most attempts that would have been made. */
  readonly maxAttempts: number;
  readonly hint: string;
  readonly status: string;

  constructor(reason: string, facts: ErrorFacts = {}) {
    super(wholeMessage(reason, facts), facts.cause === undefined ? undefined : { cause: facts.cause });
    this.reason = reason;
    this.model = facts.model ?? "";
    this.endpoint = facts.endpoint ?? "";
    this.attempts = facts.attempts ?? 0;
    this.maxAttempts = facts.maxAttempts ?? this.attempts;
    this.hint = facts.hint ?? "";
    this.status = facts.status ?? "";
  }
}

function wholeMessage(reason: string, facts: ErrorFacts): string {
  const where = [facts.model && `model '${facts.model}'`, facts.endpoint && `at ${facts.endpoint}`];
  const place = where.filter(Boolean).join(" ");
  const tries = facts.attempts ? `attempt ${facts.attempts} of ${facts.maxAttempts ?? facts.attempts}` : "";
  const context = [place, tries].filter(Boolean).join(", ");
  const text = context ? `${reason} (${context})` : reason;
  return facts.hint ? `${text}. ${facts.hint}` : text;
}

/** What the caller passed can't be sent. */
export class InvalidInputError extends TritonClientError {
  override readonly name: string = "InvalidInputError";
}

/** What the caller passed has the wrong type. */
export class InputTypeError extends InvalidInputError {
  override readonly name: string = "InputTypeError";
}

/** The server refuses the request: shape, type, batch size. */
export class InvalidRequestError extends TritonClientError {
  override readonly name: string = "InvalidRequestError";
}

/** The server doesn't have the model, or hasn't loaded it. */
export class ModelNotFoundError extends TritonClientError {
  override readonly name: string = "ModelNotFoundError";
}

/** The server wants other credentials. */
export class AccessDeniedError extends TritonClientError {
  override readonly name: string = "AccessDeniedError";
}

/** The server doesn't offer this call. */
export class NotSupportedError extends TritonClientError {
  override readonly name: string = "NotSupportedError";
}

/** The server has no room for the request. */
export class OverloadedError extends TritonClientError {
  override readonly name: string = "OverloadedError";
}

/** The request waited in the server's queue longer than it may, and wasn't run. */
export class QueueTimeoutError extends OverloadedError {
  override readonly name: string = "QueueTimeoutError";
}

/** Nobody answers at the endpoint. */
export class ServerUnavailableError extends TritonClientError {
  override readonly name: string = "ServerUnavailableError";
}

/** No answer came within the time that the caller gave. */
export class DeadlineExceededError extends TritonClientError {
  override readonly name: string = "DeadlineExceededError";
}

/** The call was cancelled; `cause` is the signal's reason. */
export class RequestCancelledError extends TritonClientError {
  override readonly name: string = "RequestCancelledError";
}

/** The server or the model broke while it answered. */
export class ServerFailureError extends TritonClientError {
  override readonly name: string = "ServerFailureError";
}

/** An answer came, but not the one that the model's configuration promises. */
export class UnexpectedAnswerError extends TritonClientError {
  override readonly name: string = "UnexpectedAnswerError";
}
