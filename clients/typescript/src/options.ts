/** How a client connects: its options, checked once, and what gRPC is told of them. */

import { readFileSync } from "node:fs";
import {
  type ChannelCredentials,
  type ChannelOptions,
  compressionAlgorithms,
  credentials,
} from "@grpc/grpc-js";
import { InvalidInputError } from "./errors.js";
import { type Retries, type RetryOptions, retriesFrom } from "./retries.js";

/** An encrypted connection. Each value is a PEM file's path, or its bytes. */
export interface TlsOptions {
  /** Certificates of the authorities that the server's certificate may be of; without it, Node's own list. */
  readonly ca?: string | Uint8Array;
  /** This client's, with its chain, where the server wants to know who calls. */
  readonly certificate?: string | Uint8Array;
  /** Of `certificate`. */
  readonly key?: string | Uint8Array;
  /** The name in the server's certificate, where it isn't the one in the url. */
  readonly serverName?: string;
}

/** Headers of every request, or a function that is asked for them before each attempt. */
export type Headers = Readonly<Record<string, string>> | (() => Readonly<Record<string, string>>);

export interface ClientOptions {
  /** `host:port` of the server's gRPC endpoint, without a scheme; a list shares requests out. Default `127.0.0.1:8001`. */
  readonly url?: string | readonly string[];
  /** The deadline of each request, its retries included. It travels to the server. Default 30000. */
  readonly timeoutMs?: number;
  /** The most requests that one call of many rows has in flight. Default 8. */
  readonly concurrency?: number;
  /** What is done when nobody answers, or a connection breaks; `{attempts: 1}` does nothing. */
  readonly retries?: RetryOptions;
  /** An encrypted connection; true for one with Node's own authorities. Default: a plain one. */
  readonly tls?: TlsOptions | boolean;
  /** Credentials, or the trace context (`traceparent`) of what calls. */
  readonly headers?: Headers;
  /** Of requests. Default: none. */
  readonly compression?: "gzip" | "deflate";
  /**
   * How often a connection with requests in flight is checked; without it never. Triton takes a check more often
   * than every 300000 ms for an attack, unless it was started with `--grpc-http2-min-recv-ping-interval-without-data`.
   */
  readonly keepaliveMs?: number;
}

/** A client's options, checked and complete. */
export interface Settings {
  readonly urls: readonly string[];
  readonly timeoutMs: number;
  readonly concurrency: number;
  readonly retries: Retries;
  readonly headers: () => Readonly<Record<string, string>>;
  readonly credentials: ChannelCredentials;
  readonly channel: ChannelOptions;
}

/**
 * Check options and fill in the defaults.
 *
 * @throws {InvalidInputError} one of them makes no sense
 */
export function settingsFrom(options: ClientOptions): Settings {
  const { url = "127.0.0.1:8001", timeoutMs = 30_000, concurrency = 8, tls = false, headers = {} } = options;
  const urls = typeof url === "string" ? [url] : [...url];
  if (urls.length === 0) {
    throw new InvalidInputError("url is an empty list; a client needs one endpoint at least");
  }
  for (const each of urls) {
    if (!/^(?!.*:\/\/)..*:\d+$/.test(each)) {
      throw new InvalidInputError(`url '${each}' isn't host:port`, { hint: "Example: 127.0.0.1:8001" });
    }
  }
  checkTimeout(timeoutMs);
  if (!Number.isInteger(concurrency) || concurrency < 1) {
    throw new InvalidInputError(`concurrency is ${concurrency}; it must be a whole number, at least 1`);
  }
  return {
    urls,
    timeoutMs,
    concurrency,
    retries: retriesFrom(options.retries),
    headers: headersFrom(headers),
    credentials: tls ? credentialsFrom(tls === true ? {} : tls) : credentials.createInsecure(),
    channel: channelOptions(options),
  };
}

/** Refuse a deadline that isn't above 0. */
export function checkTimeout(timeoutMs: number): void {
  if (!(timeoutMs > 0 && Number.isFinite(timeoutMs))) {
    throw new InvalidInputError(`timeoutMs is ${timeoutMs}; it must be above 0`);
  }
}

function headersFrom(headers: Headers): () => Readonly<Record<string, string>> {
  if (typeof headers === "function") {
    return () => checkedHeaders(headers());
  }
  const checked = checkedHeaders(headers);
  return () => checked;
}

function checkedHeaders(headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  for (const [name, value] of Object.entries(headers)) {
    if (!/^[a-z0-9_.-]+$/i.test(name) || /^grpc-/i.test(name)) {
      throw new InvalidInputError(`headers: '${name}' is no name of a header that may be set`);
    }
    if (typeof value !== "string" || !/^[\x20-\x7e]*$/.test(value)) {
      throw new InvalidInputError(`headers: the value of '${name}' holds what isn't printable ASCII`);
    }
  }
  return headers;
}

function credentialsFrom({ ca, certificate, key }: TlsOptions): ChannelCredentials {
  if ((certificate === undefined) !== (key === undefined)) {
    const [given, missing] = key === undefined ? ["certificate", "key"] : ["key", "certificate"];
    throw new InvalidInputError(`tls: ${given} was given without ${missing}; a client has both or neither`);
  }
  const pems = [pem("ca", ca), pem("key", key), pem("certificate", certificate)] as const;
  try {
    return credentials.createSsl(...pems);
  } catch (cause) {
    throw new InvalidInputError(`tls: no certificates in PEM: ${(cause as Error).message}`, { cause });
  }
}

function pem(name: string, given: string | Uint8Array | undefined): Buffer | null {
  if (given === undefined) {
    return null;
  }
  try {
    return typeof given === "string" ? readFileSync(given) : Buffer.from(given);
  } catch (cause) {
    throw new InvalidInputError(`tls: ${name}: ${given} can't be read: ${(cause as Error).message}`, {
      cause,
    });
  }
}

const COMPRESSIONS = { deflate: compressionAlgorithms.deflate, gzip: compressionAlgorithms.gzip } as const;

function channelOptions({ compression, keepaliveMs, tls }: ClientOptions): ChannelOptions {
  const options: ChannelOptions = {
    "grpc.max_send_message_length": -1,
    "grpc.max_receive_message_length": -1,
    // Retries are ours: they know the model, the budget and the other endpoints.
    "grpc.enable_retries": 0,
    // gRPC waits up to two minutes before it looks at a server again that was away.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 2_000,
    // Two clients of one process have a connection each, and closing one closes its own.
    "grpc.use_local_subchannel_pool": 1,
  };
  if (compression !== undefined) {
    if (!(compression in COMPRESSIONS)) {
      throw new InvalidInputError(`compression is '${compression}'; it is 'gzip', 'deflate' or left out`);
    }
    options["grpc.default_compression_algorithm"] = COMPRESSIONS[compression];
  }
  if (keepaliveMs !== undefined) {
    if (!(keepaliveMs > 0)) {
      throw new InvalidInputError(`keepaliveMs is ${keepaliveMs}; it must be above 0, or left out`);
    }
    options["grpc.keepalive_time_ms"] = keepaliveMs;
    options["grpc.keepalive_timeout_ms"] = 10_000;
  }
  if (typeof tls === "object" && tls.serverName !== undefined) {
    options["grpc.ssl_target_name_override"] = tls.serverName;
    options["grpc.default_authority"] = tls.serverName;
  }
  return options;
}
