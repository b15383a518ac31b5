"""What several unit tests build on."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def model_folder(tmp_path, monkeypatch):
    """Write a model directory; every keyword is a file, `config` without `.json` too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRITONPACK_HOME", str(tmp_path / "home"))

    def write(config, folder="thing", *, model_type="bert", **files):
        directory = tmp_path / folder
        directory.mkdir(parents=True)
        if config is not None:
            document = {"model_type": model_type, "max_position_embeddings": 512, **config}
            (directory / "config.json").write_text(json.dumps(document), encoding="utf-8")
        (directory / "vocab.txt").write_text("[PAD]\n[MASK]\na\n", encoding="utf-8")
        (directory / "model.safetensors").write_bytes(b"weights")
        for name, content in files.items():
            path = directory / f"{name.replace('__', '/')}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(content), encoding="utf-8")
        return f"./{folder}"

    return write
