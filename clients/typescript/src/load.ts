#!/usr/bin/env node
/**
 * Load through this client: what `tritonpack bench --through sdk-typescript` starts.
 *
 * The first line of standard input is the job. The answer to it is `ready`, once every connection is open. The second
 * line is the time at which the load begins; the measurement begins `warm_up_s` later and lasts `duration_s`. At the
 * end comes one line of JSON: when each request was sent and answered, warm-up included, its gRPC status, and the
 * processor time of this process during the measurement. Times are of CLOCK_MONOTONIC, in nanoseconds.
 */

import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { status } from "@grpc/grpc-js";
import { Client } from "./client.js";
import { TritonClientError } from "./errors.js";

interface Job {
  readonly url: string;
  readonly model: string;
  /** The inputs of one row each, by name; sent in turn. */
  readonly rows: readonly Readonly<Record<string, string>>[];
  /** The output to ask for; without it all of them. */
  readonly output?: string;
  readonly concurrency: number;
  readonly duration_s: number;
  readonly warm_up_s: number;
  readonly timeout_s: number;
  /** Connections that the requests share; 1 without it. */
  readonly open_connections?: number;
}

const NS_PER_S = 1e9;
const READY_TIMEOUT_MS = 10_000;

class Load {
  readonly #job: Job;
  readonly #clients: readonly Client[];
  readonly #sent: bigint[] = [];
  readonly #answered: bigint[] = [];
  readonly #statuses: number[] = [];
  readonly #messages: Record<number, string> = {};
  #following = 0;

  constructor(job: Job) {
    this.#job = job;
    const options = { url: job.url, timeoutMs: job.timeout_s * 1000, retries: { attempts: 1 } };
    this.#clients = Array.from({ length: job.open_connections ?? 1 }, () => new Client(options));
  }

  async connect(): Promise<void> {
    for (const client of this.#clients) {
      await client.waitReady({ model: this.#job.model, timeoutMs: READY_TIMEOUT_MS });
      await client.limits(this.#job.model);
    }
  }

  /** Keep requests in flight until `end`; those in flight then are waited for. */
  async run(end: bigint): Promise<void> {
    const loops = Array.from({ length: this.#job.concurrency }, async (_, number) => {
      const client = this.#clients[number % this.#clients.length] as Client;
      while (process.hrtime.bigint() < end) {
        await this.#send(client);
      }
    });
    await Promise.all(loops);
  }

  async #send(client: Client): Promise<void> {
    const { rows, model, output } = this.#job;
    const row = rows[this.#following % rows.length] ?? {};
    this.#following += 1;
    const inputs = Object.fromEntries(
      Object.entries(row).map(([name, text]) => [name, { data: [text], shape: [1, 1] }]),
    );
    const sent = process.hrtime.bigint();
    let code: number = status.OK;
    try {
      await client.infer(model, inputs, output ? { outputs: [output] } : {});
    } catch (error) {
      code = this.#codeOf(error);
    }
    this.#sent.push(sent);
    this.#answered.push(process.hrtime.bigint());
    this.#statuses.push(code);
  }

  #codeOf(error: unknown): number {
    if (!(error instanceof TritonClientError)) {
      throw error;
    }
    const code = status[(error.status || "UNKNOWN") as keyof typeof status] ?? status.UNKNOWN;
    this.#messages[code] ??= error.message;
    return code;
  }

  outcome(cpuS: number): object {
    return {
      sent_ns: base64(this.#sent),
      answered_ns: base64(this.#answered),
      statuses: this.#statuses,
      messages: this.#messages,
      cpu_s: cpuS,
    };
  }

  close(): void {
    for (const client of this.#clients) {
      client.close();
    }
  }
}

function base64(times: readonly bigint[]): string {
  return Buffer.from(BigInt64Array.from(times).buffer).toString("base64");
}

async function until(time: bigint): Promise<void> {
  const left = Number(time - process.hrtime.bigint()) / 1e6;
  if (left > 0) {
    await sleep(left);
  }
}

/** The processor time, in seconds, that this process takes between two times. */
async function cpuBetween(begin: bigint, end: bigint): Promise<number> {
  await until(begin);
  const before = process.cpuUsage();
  await until(end);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

async function main(): Promise<void> {
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const nextLine = async () => String((await lines.next()).value ?? "");
  const job = JSON.parse(await nextLine()) as Job;
  const load = new Load(job);
  await load.connect();
  process.stdout.write("ready\n");
  const start = BigInt(await nextLine());
  const begin = start + BigInt(Math.round(job.warm_up_s * NS_PER_S));
  const end = begin + BigInt(Math.round(job.duration_s * NS_PER_S));
  await until(start);
  const [cpuS] = await Promise.all([cpuBetween(begin, end), load.run(end)]);
  load.close();
  process.stdout.write(`${JSON.stringify(load.outcome(cpuS))}\n`, () => process.exit(0));
}

try {
  await main();
} catch (error) {
  if (!(error instanceof TritonClientError)) {
    throw error;
  }
  process.stderr.write(`${error.message}\n`, () => process.exit(1));
}
