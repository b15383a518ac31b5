"""Overlays: what they change, what they leave, and how a wrong one is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from tritonpack.core.errors import RecipeError
from tritonpack.recipe import load_recipe, overlaid, recipe_from_document

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_recipe import SMALLEST

TWO_TARGETS = {
    **SMALLEST,
    "targets": {
        "cpu": {"engine": "onnxruntime", "precision": "int8_dynamic", "quantization": {"layers": "all"}},
        "gpu": {"engine": "tensorrt", "precision": "fp16"},
    },
    "serving": {"max_batch": 16, "threads": 2},
}


@pytest.fixture
def lay(tmp_path):
    """Write the recipe and overlays, and load them."""

    def write_and_load(*overlays):
        recipe = tmp_path / "tiny.yaml"
        recipe.write_text(yaml.safe_dump(TWO_TARGETS, sort_keys=False))
        files = [tmp_path / f"{number}.yaml" for number in range(len(overlays))]
        for file, overlay in zip(files, overlays, strict=True):
            file.write_text(overlay if isinstance(overlay, str) else yaml.safe_dump(overlay, sort_keys=False))
        return load_recipe(recipe, files)

    return write_and_load


def test_mappings_are_merged_and_values_replaced(lay):
    recipe = lay({"serving": {"max_batch": 32, "instances": 2}})
    assert (recipe.serving.max_batch, recipe.serving.instances, recipe.serving.threads) == (32, 2, 2)
    assert list(recipe.targets) == ["cpu", "gpu"]


def test_the_last_overlay_wins(lay):
    recipe = lay({"serving": {"max_batch": 32, "instances": 2}}, {"serving": {"max_batch": 8}})
    assert (recipe.serving.max_batch, recipe.serving.instances) == (8, 2)


def test_target_becomes_the_first_and_evidence_is_left_aside(lay):
    recipe = lay({"target": "gpu", "evidence": {"slo": "p99<=25ms"}})
    assert recipe.default_target == "gpu"
    assert list(recipe.targets) == ["gpu", "cpu"]


def test_null_is_a_value(lay):
    recipe = lay({"serving": {"threads": None, "queue": None}})
    assert recipe.serving.threads is None
    assert recipe.serving.queue is None


def test_another_precision_comes_without_what_was_chosen_for_the_one_before(lay):
    spec = lay({"targets": {"cpu": {"precision": "fp32"}}}).targets["cpu"]
    assert (spec.precision, spec.engine) == ("fp32", "onnxruntime")
    assert "quantization" not in spec.model_fields_set
    kept = lay({"targets": {"cpu": {"precision": "int8_dynamic", "quantization": {"trials": 9}}}}).targets["cpu"]
    assert (kept.quantization.layers, kept.quantization.trials) == ("search", 9)


@pytest.mark.parametrize(
    ("overlay", "message", "hint"),
    [
        ({"target": "cpuu"}, "target is 'cpuu', which the recipe doesn't have; it has: cpu, gpu", "'cpu'"),
        ({"target": 3}, "target is 3", "one of the recipe's targets"),
        ({"serving": {"instanses": 2}}, "serving.instanses: unknown key", "'instances'"),
        ({"evidense": {}}, "evidense: unknown key", ""),
        ({"serving": {"max_batch": 100}}, "targets.cpu.profile.max_batch is 64", ""),
        ("- a list", "holds no mapping", "tune"),
        ("{", "isn't YAML", "tune"),
    ],
)
def test_a_wrong_overlay_is_named_with_what_would_be_right(lay, overlay, message, hint):
    with pytest.raises(RecipeError) as error:
        lay(overlay)
    assert message in error.value.message
    assert "0.yaml" in error.value.message
    assert hint in error.value.hint


def test_an_overlay_that_isnt_there_is_refused(tmp_path):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(SMALLEST))
    with pytest.raises(RecipeError, match=r"overlay .*none\.yaml isn't there"):
        load_recipe(tmp_path / "tiny.yaml", [tmp_path / "none.yaml"])


def test_a_recipe_in_hand_is_overlaid_without_losing_its_folder_or_its_defaults(lay, tmp_path):
    recipe = lay()
    changed = overlaid(recipe, {"serving": {"queue_delay_us": 500}})
    assert changed.folder == recipe.folder == tmp_path
    assert changed.serving.queue_delay_us == 500
    assert changed.targets == recipe.targets
    assert overlaid(recipe, {}) == recipe


def test_what_is_wrong_with_an_overlay_in_hand_names_the_recipe():
    with pytest.raises(RecipeError, match=r"tiny with trial 3 doesn't validate"):
        overlaid(recipe_from_document(SMALLEST), {"serving": {"max_batch": 0}}, "trial 3")
