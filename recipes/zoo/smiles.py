"""Write rxnmapper's and rxnfp's tokenizers as ``tokenizer.json``: ``python recipes/zoo/smiles.py``.

Theirs are Python: the matches of one regular expression, looked up in a vocabulary; what doesn't match is
dropped. What is written here is committed, since a recipe reads it; both packages are MIT.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from tritonpack.core.resources import path_from_location

FOLDER = Path(__file__).parent / "smiles"
_PATTERN = "SMI_REGEX_PATTERN"
_SOURCES = {
    "rxnmapper": (
        "package:rxnmapper/smiles_utils.py",
        "package:rxnmapper/models/transformers/albert_heads_8_uspto_all_1310k/vocab.txt",
    ),
    "rxnfp": ("package:rxnfp/tokenization.py", "package:rxnfp/models/transformers/bert_ft_10k_25s/vocab.txt"),
}
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def pattern_and_vocabulary(name: str) -> tuple[str, list[str]]:
    """What a package's tokenizer is made of, read without running it.

    Raises:
        SourceError: the package isn't installed.
    """
    code, vocabulary = (path_from_location(location, FOLDER).read_text(encoding="utf-8") for location in _SOURCES[name])
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == _PATTERN:
            return str(ast.literal_eval(node.value)), vocabulary.splitlines()
    raise ValueError(f"{_SOURCES[name][0]} has no {_PATTERN}")


def tokenizer_of(name: str) -> Any:
    """The same as a Rust tokenizer: `[CLS]`, the known matches, `[SEP]`."""
    from tokenizers import AddedToken, Regex, Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split
    from tokenizers.processors import TemplateProcessing

    pattern, words = pattern_and_vocabulary(name)
    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = Split(Regex(pattern), behavior="removed", invert=True)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in _SPECIAL])
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, words.index(token)) for token in ("[CLS]", "[SEP]")],
    )
    return tokenizer


def _main() -> None:
    for name in _SOURCES:
        (FOLDER / name).mkdir(parents=True, exist_ok=True)
        tokenizer_of(name).save(str(FOLDER / name / "tokenizer.json"), pretty=False)


if __name__ == "__main__":
    _main()
