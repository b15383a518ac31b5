import { expect, test } from "vitest";
import { InputTypeError, InvalidInputError, UnexpectedAnswerError } from "../src/errors.js";
import { ModelInferRequest, ModelInferResponse } from "../src/generated/grpc_service.js";
import { ModelConfig } from "../src/generated/model_config.js";
import { limitsFromConfig } from "../src/limits.js";
import { type Parameter, requestFromInputs, tensorsFromAnswer } from "../src/requests.js";
import { HASH } from "./models.js";

test("a request is as Triton reads it", () => {
  const make = requestFromInputs(
    HASH,
    { text: ["a", "é"] },
    { outputs: ["embedding"], parameters: { sequence_id: 7n } },
  );
  const request = ModelInferRequest.decode(ModelInferRequest.encode(make(1500.4)).finish());
  expect(request).toMatchObject({
    modelName: "hash",
    inputs: [{ name: "text", datatype: "BYTES", shape: [2n, 1n] }],
    outputs: [{ name: "embedding" }],
    parameters: {
      timeout: { parameterChoice: { $case: "int64Param", value: 1_500_400n } },
      sequence_id: { parameterChoice: { $case: "int64Param", value: 7n } },
    },
  });
  expect([...(request.rawInputContents[0] ?? [])]).toEqual([1, 0, 0, 0, 97, 2, 0, 0, 0, 0xc3, 0xa9]);
});

test.each<[Parameter, string]>([
  [1n << 60n, "int64Param"],
  [3, "int64Param"],
  [0.5, "doubleParam"],
  ["x", "stringParam"],
  [true, "boolParam"],
])("parameter %s is %s", (value, kind) => {
  const request = requestFromInputs(HASH, {}, { parameters: { p: value } })(1);
  expect(request.parameters.p?.parameterChoice?.$case).toBe(kind);
});

test("names that the model doesn't have are refused", () => {
  expect(() => requestFromInputs(HASH, { txt: ["a"] })).toThrow(InvalidInputError);
  expect(() => requestFromInputs(HASH, { txt: ["a"] })).toThrow(/no input named 'txt'; the inputs are text/);
  expect(() => requestFromInputs(HASH, "text" as never)).toThrow(InputTypeError);
  expect(() => requestFromInputs(HASH, {}, { parameters: { p: null as never } })).toThrow(InputTypeError);
});

test("an answer without its bytes is none", () => {
  const answer = ModelInferResponse.decode(
    ModelInferResponse.encode({
      modelName: "hash",
      modelVersion: "1",
      id: "",
      parameters: {},
      outputs: [
        { name: "embedding", datatype: "FP32", shape: [1n, 1n], parameters: {}, contents: undefined },
      ],
      rawOutputContents: [],
    }).finish(),
  );
  expect(() => tensorsFromAnswer(answer, "hash")).toThrow(UnexpectedAnswerError);
});

test("limits of a configuration", () => {
  const config = ModelConfig.decode(new Uint8Array());
  const spec = {
    ...{
      format: 0,
      reshape: undefined,
      isShapeTensor: false,
      allowRaggedBatch: false,
      optional: false,
      isNonLinearFormatIo: false,
    },
  };
  config.name = "m";
  config.maxBatchSize = 4;
  config.input = [{ ...spec, name: "text", dataType: 13, dims: [1n] }];
  config.output = [{ ...spec, name: "vector", dataType: 11, dims: [-1n, 8n], labelFilename: "" }];
  config.modelTransactionPolicy = { decoupled: true };
  expect(limitsFromConfig(config)).toEqual({
    model: "m",
    maxBatchSize: 4,
    inputs: [{ name: "text", datatype: "BYTES", dims: [1] }],
    outputs: [{ name: "vector", datatype: "FP32", dims: [-1, 8] }],
    stateful: false,
    decoupled: true,
  });
});
