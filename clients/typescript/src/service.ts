/** The methods of Triton's gRPC service that the client calls. */

import {
  ModelConfigRequest,
  ModelConfigResponse,
  ModelInferRequest,
  ModelInferResponse,
  ModelReadyRequest,
  ModelReadyResponse,
  ModelStreamInferResponse,
  RepositoryIndexRequest,
  RepositoryIndexResponse,
  ServerMetadataRequest,
  ServerMetadataResponse,
  ServerReadyRequest,
  ServerReadyResponse,
} from "./generated/grpc_service.js";

/** One method: where it is, and how its messages become bytes. */
export interface Method<Q, A> {
  readonly path: string;
  readonly encode: (request: Q) => Buffer;
  readonly decode: (bytes: Buffer) => A;
}

interface Encoder<Q> {
  encode(message: Q): { finish(): Uint8Array };
}

interface Decoder<A> {
  decode(bytes: Uint8Array): A;
}

function method<Q, A>(name: string, request: Encoder<Q>, answer: Decoder<A>): Method<Q, A> {
  return {
    path: `/inference.GRPCInferenceService/${name}`,
    encode: (message) => {
      const bytes = request.encode(message).finish();
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    },
    decode: (bytes) => answer.decode(bytes),
  };
}

export const SERVER_READY = method("ServerReady", ServerReadyRequest, ServerReadyResponse);
export const MODEL_READY = method("ModelReady", ModelReadyRequest, ModelReadyResponse);
export const SERVER_METADATA = method("ServerMetadata", ServerMetadataRequest, ServerMetadataResponse);
export const REPOSITORY_INDEX = method("RepositoryIndex", RepositoryIndexRequest, RepositoryIndexResponse);
export const MODEL_CONFIG = method("ModelConfig", ModelConfigRequest, ModelConfigResponse);
export const MODEL_INFER = method("ModelInfer", ModelInferRequest, ModelInferResponse);
export const MODEL_STREAM_INFER = method("ModelStreamInfer", ModelInferRequest, ModelStreamInferResponse);
