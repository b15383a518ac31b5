// proto/triton.binpb -> src/generated: what `protoc` would do, without protoc.
//
// A plugin of protoc reads a CodeGeneratorRequest on stdin and writes a CodeGeneratorResponse on stdout.

import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  CodeGeneratorRequestSchema,
  CodeGeneratorResponseSchema,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";

const OPTIONS = [
  "forceLong=bigint",
  "esModuleInterop=true",
  "importSuffix=.js",
  "oneof=unions-value",
  "outputServices=none",
  "outputJsonMethods=false",
  "outputPartialMethods=false",
  "removeEnumPrefix=false",
  "useExactTypes=false",
  "comments=false",
].join(",");

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const folder = join(root, "src", "generated");
const files = fromBinary(FileDescriptorSetSchema, readFileSync(join(root, "proto", "triton.binpb"))).file;
const request = create(CodeGeneratorRequestSchema, {
  fileToGenerate: files.map((file) => file.name),
  parameter: OPTIONS,
  protoFile: files,
  compilerVersion: { major: 29, minor: 0, patch: 0, suffix: "" },
});

const plugin = createRequire(import.meta.url).resolve("ts-proto/protoc-gen-ts_proto");
const run = spawnSync(process.execPath, [plugin], {
  input: toBinary(CodeGeneratorRequestSchema, request),
  maxBuffer: 64 * 1024 * 1024,
  stdio: ["pipe", "pipe", "inherit"],
});
if (run.status !== 0) {
  throw new Error(`ts-proto ended with ${run.status ?? run.signal}`);
}
const response = fromBinary(CodeGeneratorResponseSchema, run.stdout);
if (response.error) {
  throw new Error(response.error);
}
rmSync(folder, { recursive: true, force: true });
for (const { name, content } of response.file) {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}
