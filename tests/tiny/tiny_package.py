"""What `package` takes, small: a recipe's steps and targets whose engines are a few bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tritonpack.core.digest import digest_of_file
from tritonpack.core.model import ModelTraits, RaggedAxis
from tritonpack.core.tensors import TensorSpec
from tritonpack.inputs import INPUTS
from tritonpack.repository import python_models
from tritonpack.repository.ensemble import Serving
from tritonpack.repository.layout import Content, read_manifest
from tritonpack.repository.pbtxt import parse
from tritonpack.stages.assemble import steps_of
from tritonpack.stages.package import BuiltTarget, Package
from tritonpack.tasks import TASKS

CODE = Path(python_models.__file__).parent
SERVING = Serving(
    max_batch=8,
    queue_delay_us=500,
    instances=1,
    tokenizer_instances=2,
    postprocessor_instances=3,
    threads=3,
    response_cache=False,
    warmup=True,
)
MODEL = ModelTraits({"pad_token_id": 5}, max_length=48, mask_token_id=4)


def steps(task, outputs, kind="text", facts=None, **options):
    """The steps around a model of one task; the tokenizer said ``facts``."""
    input_, task_ = INPUTS.get(kind), TASKS.get(task)
    answer = task_.answer(task_.options(kind=task, **options), MODEL)
    return steps_of(input_, input_.options(kind=kind), MODEL, facts or {}, answer, outputs)


EMBEDDING = (TensorSpec("embedding_output", "float32", ("batch", 32)),)
AXES = (RaggedAxis("sequence", "attention_mask", {"input_ids": 5, "attention_mask": 0}, 48),)
RECIPE = Package(
    name="tiny",
    serving=SERVING,
    order=(
        ("cpu", "onnxruntime", ("fp32",)),
        ("small", "onnxruntime", ("int8", "int8_dynamic")),
        ("gpu", "tensorrt", ("fp16",)),
    ),
    steps=steps("embedding", EMBEDDING),
    tokenizer=Content.of_bytes(b'{"tokenizer": 1}'),
)
TRITON = {"onnxruntime": {"backend": "onnxruntime"}, "tensorrt": {"platform": "tensorrt_plan"}}
SUFFIX = {"onnxruntime": ".onnx", "tensorrt": ".plan"}


def target(name, data=None, model="model 1", outputs=EMBEDDING, precision=None):
    engine, precisions = {name: rest for name, *rest in RECIPE.order}[name]
    return BuiltTarget(
        name=name,
        engine=engine,
        precision=precision or precisions[0],
        suffix=SUFFIX[engine],
        triton=TRITON[engine],
        content=Content.of_bytes((data or f"{name} engine").encode()),
        model=model,
        inputs=tuple(TensorSpec(name, "int64", ("batch", "sequence")) for name in ("input_ids", "attention_mask")),
        outputs=outputs,
        axes=AXES,
        facts={"platform": "any"},
        verification=[{"status": "verified"}],
        refused=[],
        lineage=[{"stage": "export"}],
    )


LOGITS = (TensorSpec("logits_output", "float32", ("batch", 2)),)
MASKS = (TensorSpec("logits_output", "float32", ("batch", 4, 99)),)
LABELLED = replace(RECIPE, steps=steps("classification", LOGITS, labels=("no", "yes")))
FILLED = replace(RECIPE, steps=steps("fill_mask", MASKS))


def config(repository, path):
    return parse((repository / path).read_text())


def bytes_of(repository):
    return {
        path.relative_to(repository).as_posix(): path.read_bytes() for path in repository.rglob("*") if path.is_file()
    }


def assert_whole(repository):
    """Every file that the manifest names is there, as it says."""
    for entry in read_manifest(repository)["recipes"].values():
        for path, facts in entry["files"].items():
            assert (repository / path).stat().st_size == facts["size"]
            assert digest_of_file(repository / path) == facts["sha256"]
