"""infinity-emb with its ONNX engine on a graph that optimum's command line quantized: INT8 on the peers' side too."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from peers.infinity_onnx import PEER as FP32
from peers.infinity_onnx import export, optimum

if TYPE_CHECKING:
    from peers import Place

_QUANTIZED = "model_quantized.onnx"
"""infinity takes a graph of such a name on a CPU."""


def _prepare(place: Place) -> None:
    if (place.work / _QUANTIZED).is_file():
        return
    whole = place.work.with_name(f"{place.work.name}.fp32")
    export(place, whole)
    options = ["--onnx_model", str(whole), "--avx512_vnni", "--per_channel", "-o", str(place.work)]
    optimum(place, "onnxruntime", "quantize", *options)
    shutil.rmtree(whole)


PEER = replace(
    FP32,
    title="infinity-emb, ONNX, INT8",
    settings="as with ONNX, on a graph that `optimum-cli onnxruntime quantize --avx512_vnni --per_channel` made: INT8 "
    "dynamic",
    prepare=_prepare,
    is_fp32=False,
)
