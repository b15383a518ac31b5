"""What `transformers` itself answers, each text alone and unpadded; of a plain module, what the module answers."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.answers import Answer, Listed, Ranked, Vector
from conformance.models import HEADS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conformance.cells import Cell
    from conformance.questions import Row


class Reference:
    """A model directory, asked through `transformers`.

    Args:
        cell: what is asked for.
        folder: the model directory.
    """

    def __init__(self, cell: Cell, folder: Path) -> None:
        import transformers

        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        self.cell = cell
        # The recipe's limit in place of the model's: pipelines that truncate do it there.
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder, model_max_length=cell.max_length)
        auto_class = "AutoModelForTextEncoding" if cell.family == "t5" else HEADS[cell.model].auto_class
        self.model = getattr(transformers, auto_class).from_pretrained(folder).eval()
        self._cut = {"truncation": True, "max_length": cell.max_length}
        self._answer = self._asked_by()

    @property
    def mask(self) -> str:
        """The mask token, or nothing."""
        return str(self.tokenizer.mask_token or "")

    def answers(self, rows: list[Row]) -> list[Answer]:
        """What each row is answered."""
        import torch

        with torch.no_grad(), _quiet():
            return [self._answer(row) for row in rows]

    def _asked_by(self) -> Callable[[Row], Answer]:
        import transformers

        def pipeline(task: str, **options: Any) -> Any:
            return transformers.pipeline(task, model=self.model, tokenizer=self.tokenizer, device="cpu", **options)

        match self.cell.task["kind"]:
            case "embedding":
                return self._embedding
            case "classification":
                self.pipeline = pipeline("text-classification", **self._cut)
                return self._classification
            case "token_classification":
                strategy = self.cell.task["aggregation"]
                self.pipeline = pipeline("token-classification", aggregation_strategy=strategy)
                return self._entities
            case "question_answering":
                return self._spans
            case "fill_mask":
                everything = len(self.tokenizer)
                self.pipeline = pipeline("fill-mask", top_k=everything, tokenizer_kwargs=self._cut)
                return self._masks
            case _:
                return self._next_token

    def _embedding(self, row: Row) -> Answer:
        import torch

        hidden = self.model(**self.tokenizer(row["text"], return_tensors="pt", **self._cut)).last_hidden_state[0]
        pooled = {"mean": hidden.mean(dim=0), "cls": hidden[0], "last": hidden[-1]}[self.cell.task["pooling"]]
        vector = torch.nn.functional.normalize(pooled, dim=0) if self.cell.task["normalize"] else pooled
        return [Vector(vector.numpy())]

    def _classification(self, row: Row) -> Answer:
        scored = self.pipeline(row if "text_pair" in row else row["text"], top_k=None)
        return [Ranked(tuple((item["label"], item["score"]) for item in scored))]

    def _entities(self, row: Row) -> Answer:
        found = [
            ((item.get("entity_group", item.get("entity")), item["start"], item["end"],
              row["text"][item["start"] : item["end"]]), float(item["score"]))
            for item in self.pipeline(row["text"])
        ]  # fmt: skip
        return [Listed(tuple(found))]

    def _masks(self, row: Row) -> Answer:
        filled = self.pipeline(row["text"])
        masks = filled if isinstance(filled[0], list) else [filled]
        return [
            Ranked(tuple(((item["token"], item["token_str"]), item["score"]) for item in candidates))
            for candidates in masks
        ]

    def _next_token(self, row: Row) -> Answer:
        logits = self.model(**self.tokenizer(row["text"], return_tensors="pt", **self._cut)).logits[0, -1]
        scores, ids = logits.softmax(dim=-1).sort(descending=True)
        names = [(token, self.tokenizer.decode([token])) for token in ids.tolist()]
        return [Ranked(tuple(zip(names, scores.tolist(), strict=True)))]

    def _spans(self, row: Row) -> Answer:
        from conformance.spans import spans_from_model

        return [Ranked(tuple(spans_from_model(self.model, self.tokenizer, self.cell, row)))]


class ModuleReference:
    """A plain module, called as its authors would.

    Args:
        cell: what is asked for.
        folder: the directory with ``tokenizer.json``; sounds need none.
        arguments: of the factory.
    """

    mask = ""

    def __init__(self, cell: Cell, folder: Path, arguments: dict[str, Any]) -> None:
        from conformance import modules

        self.cell = cell
        self.module = getattr(modules, cell.model)(**arguments)
        self.labels = list(cell.config["id2label"].values())
        if (folder / "tokenizer.json").is_file():
            from tokenizers import Tokenizer

            self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def answers(self, rows: list[Row]) -> list[Answer]:
        """What each row is answered."""
        import torch

        with torch.no_grad():
            return [self._scored(self._logits(row)) for row in rows]

    def _logits(self, row: Row) -> Any:
        import torch

        if "waveform" in row:
            return self._heard(row["waveform"])
        sides = []
        for text in row.values():
            ids = torch.tensor([self.tokenizer.encode(text).ids[: self.cell.max_length]])
            sides += [ids, torch.ones_like(ids)]
        return self.module(*sides)[0]

    def _heard(self, samples: Any) -> Any:
        """A window has a fixed length, scaled before silence fills it up; else the sound is heard as it is."""
        import torch

        options = self.cell.input or {}
        window = options.get("window")
        if window is None:
            sound = torch.from_numpy(samples)[None]
            return self.module(sound, torch.ones(sound.shape, dtype=torch.int64))[0]
        sound = samples[:window].astype(np.float64)
        sound = (sound - sound.mean()) / np.sqrt(sound.var() + 1e-7)
        padded = np.pad(sound, (0, window - len(sound))).astype(np.float32)
        return self.module(torch.from_numpy(padded)[None])[0]

    def _scored(self, logits: Any) -> Answer:
        scores = (logits.sigmoid() if len(self.labels) == 1 else logits.softmax(dim=-1)).tolist()
        return [Ranked(tuple(sorted(zip(self.labels, scores, strict=True), key=lambda item: -item[1])))]


class WordVectorReference:
    """The mean of a text's word vectors; words without one count as nothing.

    Args:
        cell: what is asked for.
        vectors: by word, ``(d,)``.
    """

    mask = ""

    def __init__(self, cell: Cell, vectors: dict[str, Any]) -> None:
        self.cell, self.vectors = cell, vectors

    def answers(self, rows: list[Row]) -> list[Answer]:
        """What each row is answered."""
        return [[Vector(self._vector(row["text"]))] for row in rows]

    def _vector(self, text: str) -> Any:
        from tokenizers.normalizers import NFC, Lowercase, Sequence
        from tokenizers.pre_tokenizers import BertPreTokenizer

        cut = BertPreTokenizer().pre_tokenize_str(Sequence([NFC(), Lowercase()]).normalize_str(text))
        known = [self.vectors[word] for word, _ in cut[: self.cell.max_length] if word in self.vectors]
        mean = np.mean(known, axis=0) if known else np.zeros_like(next(iter(self.vectors.values())))
        norm = float(np.linalg.norm(mean))
        return mean / norm if self.cell.task["normalize"] and norm else mean


@contextmanager
def _quiet() -> Iterator[None]:
    """Pipelines warn of what a cell is there to prove, e.g. a tokenizer without word marks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
