"""A throw-away file of each room, as its author would write it."""

from __future__ import annotations

TASK = """
from typing import Literal
import numpy as np
from pydantic import Field
from tritonpack.core.tensors import TensorSpec, agreement_of
from tritonpack.tasks import Answer, TaskOptions
from tritonpack.tasks.embedding import Embedding

class Options(TaskOptions):
    kind: Literal["loudness"]
    scale: float = Field(1.0, description="A factor.")

class Loudness(Embedding):
    version = 1
    options = Options
    inputs = ("shout", "text")

    def outputs(self, options, model):
        return [TensorSpec("loudness_output", "float32", ("batch", 1))]

    def answer(self, options, model):
        gives = (TensorSpec("loudness", "float32", ("batch", 1)),)
        return Answer(gives, renames={"loudness": "loudness_output"})

    def wrap(self, model, inputs, options, traits):
        import torch

        assert inputs == ["input_ids", "attention_mask"]

        class Loud(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.model = model

            def forward(self, input_ids, attention_mask):
                hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
                loud = (hidden.abs().sum(dim=2) * attention_mask).sum(dim=1) / attention_mask.sum(dim=1)
                return options.scale * loud[:, None]

        return Loud().eval()

TASK = Loudness()
"""

INPUT = """
from typing import Literal
from pydantic import Field
from tritonpack.inputs import InputOptions
from tritonpack.inputs._text import TokenInput, text_spec

class Options(InputOptions):
    kind: Literal["shout"] = "shout"
    side: Literal["left", "right"] = Field("left", description="What is lost of a long one.")

class Shout(TokenInput):
    options = Options
    public = (text_spec("shout"),)
    truncation = "longest_first"

    def parameters(self, options, model):
        return {**super().parameters(options, model), "truncation_side": options.side}

INPUT = Shout()
"""

FAMILY = """
from tritonpack.families import Family

def _doubled(model):
    import torch

    class Doubled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, input_ids, attention_mask):
            output = self.model(input_ids=input_ids, attention_mask=attention_mask)
            output.last_hidden_state = 2 * output.last_hidden_state
            return output

    return Doubled().eval()

FAMILY = Family(model_types=("loudbert",), positions=lambda config: 40, adapt=_doubled)
"""

PRECISION = """
from tritonpack.core.tensors import Tolerance
from tritonpack.precisions import Data, Group

class Labelled:
    version = 1
    packages = ("onnx",)
    data = Data.HELPFUL
    searchable = True
    engines = frozenset({"onnxruntime", "notebook"})
    tolerance = Tolerance(min_cosine=0.99)

    def groups(self, onnx):
        return [Group("first", ("one", "two"), 30), Group("second", ("three",), 10)]

    def studied(self, onnx, how):
        return how

    def rewrite(self, onnx, out, how):
        import onnx as package

        model = package.load(onnx)
        model.doc_string = "labelled"
        package.save(model, out)
        return {"label": "labelled", "observed": how.observed.rows, "kept": sorted(how.keep)}

PRECISION = Labelled()
"""

COMPRESSION = """
from typing import Literal
from pydantic import Field
from tritonpack.compressions import CompressionOptions

class Options(CompressionOptions):
    kind: Literal["quieten"]
    factor: float = Field(description="What is left of it.")

class Quieten:
    version = 1
    options = Options
    packages = ()

    def needs_data(self, options):
        return False

    def reshape(self, module, options):
        return module

    def train(self, module, options, lesson):
        import torch

        last = [part for name, part in module.named_modules() if name.endswith("LayerNorm")][-1]
        with torch.no_grad():
            last.weight *= options.factor
            last.bias *= options.factor
        return {"factor": options.factor}

COMPRESSION = Quieten()
"""

DATASET = """
from typing import Literal
from tritonpack.evaluation import Examples
from tritonpack.evaluation.datasets import DatasetOptions

class Options(DatasetOptions):
    kind: Literal["shouts"]

class Shouts:
    options = Options

    def digest(self, options, folder):
        return "5" * 64

    def read(self, options, folder, inputs):
        (name,) = inputs
        return Examples([{name: "hill " * (1 + number)} for number in range(options.rows or 12)], None)

DATASET = Shouts()
"""

SCORER = """
import numpy as np
from tritonpack.evaluation.scorers import Scores

class Loudness:
    version = 1
    takes_pairs = False

    def metrics(self, examples):
        return {"order": lambda scores: float(np.corrcoef(scores.columns["heard"], scores.columns["meant"])[0, 1])}

    def answers(self, outputs):
        return [float(answer["loudness"][0, 0]) for answer in outputs]

    def scores(self, examples, outputs):
        heard, meant = np.array(self.answers(outputs)), np.array(examples.expected)
        texts = [[f"{number:.2f}" for number in numbers] for numbers in (heard, meant)]
        return Scores({"heard": heard, "meant": meant}, np.abs(heard - meant), *texts)

    def curves(self, scores):
        return []

    def confusion(self, scores):
        return None

SCORER = Loudness()
"""

ENGINE = """
from tritonpack.engines.onnxruntime import OnnxRuntime

class Notebook(OnnxRuntime):
    suffix = ".note"
    triton = {"backend": "notebook"}

    def compile(self, onnx, profile, out, cache):
        out.write_bytes(b"note:" + onnx.read_bytes())
        return {"platform": "paper"}

    def open(self, path):
        content = path.read_bytes()
        if not content.startswith(b"note:"):
            return super().open(path)
        import tempfile, pathlib
        with tempfile.TemporaryDirectory() as folder:
            graph = pathlib.Path(folder) / "graph.onnx"
            graph.write_bytes(content[5:])
            return super().open(graph)

ENGINE = Notebook()
"""

FACTORY = """
def build(folder):
    from transformers import AutoModel
    return AutoModel.from_pretrained(folder)
"""
