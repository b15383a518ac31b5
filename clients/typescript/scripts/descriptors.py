# ruff: noqa: INP001 (a program, imported by nothing)
"""Take Triton's gRPC messages from the installed `tritonclient`: proto/triton.binpb and proto/NOTICE.

python clients/typescript/scripts/descriptors.py [--check]

`npm run generate` makes the TypeScript of them, so that nobody needs `protoc`. With --check nothing is written, and
the exit code is 1 if the committed descriptors aren't those of the installed package.
"""

from __future__ import annotations

import sys
from importlib.metadata import distribution
from pathlib import Path

from google.protobuf import descriptor_pb2
from tritonclient.grpc import model_config_pb2, service_pb2

FOLDER = Path(__file__).resolve().parents[1] / "proto"


def main() -> int:
    """Write the descriptors, or compare them."""
    files = descriptor_pb2.FileDescriptorSet()
    # Dependencies first, as protoc gives them to its plugins.
    for module in (model_config_pb2, service_pb2):
        files.file.add().ParseFromString(module.DESCRIPTOR.serialized_pb)
    descriptors = FOLDER / "triton.binpb"
    if "--check" in sys.argv[1:]:
        return 0 if descriptors.read_bytes() == files.SerializeToString(deterministic=True) else 1
    descriptors.write_bytes(files.SerializeToString(deterministic=True))
    (FOLDER / "NOTICE").write_text(_notice(), encoding="utf-8")
    return 0


def _notice() -> str:
    package = distribution("tritonclient")
    licence = next(path for path in package.files or () if path.name.startswith("LICENSE"))
    words = Path(str(package.locate_file(licence))).read_text(encoding="utf-8")
    return (
        "triton.binpb, and the code that is generated of it, describe the gRPC messages of NVIDIA Triton Inference\n"
        "Server (grpc_service.proto, model_config.proto), "
        f"as tritonclient {package.version} contains them. Their licence:\n\n"
        f"{words.strip()}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
