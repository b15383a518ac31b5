/** What the client says before, or without, a server. */

import { expect, test } from "vitest";
import { Client, RequestCancelledError, ServerUnavailableError } from "../src/index.js";

const NOBODY = "127.0.0.1:1";
const HURRIED = { url: NOBODY, retries: { attempts: 3, firstPauseMs: 1 } };

test("nobody there is not ready", async () => {
  await using client = new Client({ url: NOBODY });
  expect(await client.isReady()).toBe(false);
  expect(await client.isReady({ model: "minilm" })).toBe(false);
});

test("waiting ends in time", async () => {
  await using client = new Client({ url: NOBODY });
  await expect(client.waitReady({ timeoutMs: 200, model: "minilm" })).rejects.toThrow(
    /not ready after 200 ms \(model 'minilm'/,
  );
});

test("a call to nobody names the endpoint and the attempts", async () => {
  await using client = new Client(HURRIED);
  const error = await client.embed("minilm", ["text"]).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(ServerUnavailableError);
  expect(error).toMatchObject({ endpoint: NOBODY, attempts: 3, model: "minilm", status: "UNAVAILABLE" });
});

test("every endpoint is tried", async () => {
  await using client = new Client({ ...HURRIED, url: [NOBODY, "127.0.0.1:2"] });
  await expect(client.server()).rejects.toThrow(/attempt 3 of 3/);
});

test("a dead server uses the budget up", async () => {
  await using client = new Client({ url: NOBODY, retries: { attempts: 100, firstPauseMs: 0, budget: 0 } });
  await expect(client.server()).rejects.toMatchObject({ attempts: 11 });
  await expect(client.server()).rejects.toMatchObject({ attempts: 1 });
});

test("a signal that is aborted already sends nothing", async () => {
  await using client = new Client(HURRIED);
  const call = client.embed("minilm", ["text"], { signal: AbortSignal.abort("enough") });
  await expect(call).rejects.toMatchObject({ name: "RequestCancelledError", attempts: 0, cause: "enough" });
});

test("a signal ends the pause before another attempt", async () => {
  await using client = new Client({
    url: NOBODY,
    retries: { firstPauseMs: 1e9, maxPauseMs: 1e9 },
    timeoutMs: 1e10,
  });
  const call = client.server({ signal: AbortSignal.timeout(50) });
  await expect(call).rejects.toThrow(RequestCancelledError);
});

test("a closed client says so", async () => {
  const client = new Client(HURRIED);
  client.close();
  client.close();
  await expect(client.server()).rejects.toThrow(/the client is closed/);
});

test("texts that are none are refused where there is no server", async () => {
  await using client = new Client(HURRIED);
  await expect(client.iterEmbed("minilm", "text" as never).next()).rejects.toThrow(/not a list/);
  await expect(client.server({ timeoutMs: 0 })).rejects.toThrow(/timeoutMs is 0/);
});
