/** gRPC statuses, and Triton's own words, to errors. */

import { status } from "@grpc/grpc-js";
import {
  AccessDeniedError,
  DeadlineExceededError,
  type ErrorFacts,
  InvalidRequestError,
  ModelNotFoundError,
  NotSupportedError,
  OverloadedError,
  QueueTimeoutError,
  RequestCancelledError,
  ServerFailureError,
  ServerUnavailableError,
  type TritonClientError,
  UnexpectedAnswerError,
} from "./errors.js";

type ErrorClass = new (reason: string, facts?: ErrorFacts) => TritonClientError;
type Meaning = readonly [kind: ErrorClass, hint: string];

const HINT_SERVER = "Is the server running there? `tritonpack status` shows the servers on this machine";
const HINT_REQUEST = "Compare the request with `client.limits(model)`";
const HINT_LOG = "The server's log has the cause";
const HINT_ACCESS = "Check the credentials";

/** Name of a gRPC status -> error class and hint. A test proves that no status is left out. */
export const ERROR_FROM_STATUS: Readonly<Record<keyof typeof status, Meaning>> = {
  // A failure that says OK is no success: the transport broke its own rules.
  OK: [UnexpectedAnswerError, HINT_LOG],
  CANCELLED: [RequestCancelledError, ""],
  UNKNOWN: [ServerFailureError, HINT_LOG],
  INVALID_ARGUMENT: [InvalidRequestError, HINT_REQUEST],
  DEADLINE_EXCEEDED: [
    DeadlineExceededError,
    "Give the call more time (`timeoutMs`), or the server less load",
  ],
  NOT_FOUND: [ModelNotFoundError, "`client.models()` lists what the server has"],
  ALREADY_EXISTS: [InvalidRequestError, HINT_REQUEST],
  PERMISSION_DENIED: [AccessDeniedError, HINT_ACCESS],
  UNAUTHENTICATED: [AccessDeniedError, HINT_ACCESS],
  RESOURCE_EXHAUSTED: [OverloadedError, "Send fewer requests at once, or smaller ones"],
  FAILED_PRECONDITION: [InvalidRequestError, HINT_REQUEST],
  ABORTED: [ServerFailureError, HINT_LOG],
  OUT_OF_RANGE: [InvalidRequestError, HINT_REQUEST],
  UNIMPLEMENTED: [NotSupportedError, "The server may be older than this client, or no Triton at all"],
  INTERNAL: [ServerFailureError, HINT_LOG],
  UNAVAILABLE: [ServerUnavailableError, HINT_SERVER],
  DATA_LOSS: [ServerFailureError, HINT_LOG],
};

/** What Triton says -> error class and hint, where it answers UNAVAILABLE although the endpoint is fine. */
export const ERROR_FROM_WORDS: ReadonlyMap<string, Meaning> = new Map<string, Meaning>([
  ["unknown model", ERROR_FROM_STATUS.NOT_FOUND],
  ["Exceeds maximum queue size", [OverloadedError, "The queue is full: try again after a pause"]],
  ["Request timeout expired", [QueueTimeoutError, "The server is behind: try again after a pause"]],
  ["This protocol is restricted", [AccessDeniedError, "Pass that header with its value: headers: {...}"]],
]);

const UNTRUSTED: Meaning = [
  AccessDeniedError,
  "The server's certificate isn't of an authority that is trusted: tls: { ca } names others",
];

/** What Node.js says of a connection that can't be made, which grpc-js answers with UNAVAILABLE. */
export const ERROR_FROM_TRANSPORT: ReadonlyMap<string, Meaning> = new Map<string, Meaning>([
  ["self-signed certificate", UNTRUSTED],
  ["unable to verify the first certificate", UNTRUSTED],
  ["unable to get local issuer certificate", UNTRUSTED],
  [
    "does not match certificate's altnames",
    [AccessDeniedError, "The server's certificate is for another name: tls: { serverName } says which"],
  ],
  ["wrong version number", [ServerUnavailableError, "The server doesn't speak TLS there: leave out tls"]],
]);

/**
 * How grpc-js tells of a connection that broke under a request, beside UNAVAILABLE: an HTTP/2 stream that ended
 * without a gRPC status, or that Node itself closed.
 */
const BROKEN_CONNECTION = [
  /^Received RST_STREAM with code \d+ \(Call ended without gRPC status\)/,
  /^Received RST_STREAM with code \d+ triggered by internal client error/,
  /^Call cancelled$/,
];

/** Map a gRPC status, by number, and the words that came with it, to an error. */
export function errorFromStatus(
  code: number | undefined,
  words: string,
  facts: ErrorFacts = {},
): TritonClientError {
  const name = statusName(code, words);
  // A model may say the same of its own affairs, but not with that status.
  const meanings = [...ERROR_FROM_WORDS, ...(name === "UNAVAILABLE" ? ERROR_FROM_TRANSPORT : [])];
  const known = meanings.find(([part]) => words.includes(part))?.[1];
  const [kind, hint] = known ?? ERROR_FROM_STATUS[name];
  // An unnamed request is announced as "[request id: <id_unknown>]", which tells nobody anything.
  const reason = words
    .replace(/^\[request id: <id_unknown>\]/, "")
    .trim()
    .replace(/\.+$/, "");
  return new kind(reason || name, { hint, status: name, ...facts });
}

function statusName(code: number | undefined, words: string): keyof typeof status {
  if (BROKEN_CONNECTION.some((pattern) => pattern.test(words))) {
    return "UNAVAILABLE";
  }
  const name = code === undefined ? undefined : status[code];
  return name !== undefined && name in ERROR_FROM_STATUS ? (name as keyof typeof status) : "UNKNOWN";
}
