"""What is searched, and the overlays that settings mean."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tritonpack.recipe import overlaid, recipe_from_document
from tritonpack.tuning.space import Settings, Space, own_settings

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_recipe import SMALLEST, changed
from tiny_tuning import OWN, RECIPE, SPACE

QUANTIZED = {"engine": "onnxruntime", "precision": "int8_dynamic", "quantization": {"layers": "all"}}


def test_the_recipes_own_values_are_in_every_list():
    assert SPACE.settings(SPACE.places(OWN)) == OWN
    assert 300 in SPACE.delays_us
    assert SPACE.layouts[0] == (1, 1)


def test_every_place_is_one_way_to_serve_the_recipe():
    sizes = [len(values) for values in SPACE.lists.values()]
    first = SPACE.settings(dict.fromkeys(SPACE.lists, 0))
    last = SPACE.settings({name: size - 1 for name, size in zip(SPACE.lists, sizes, strict=True)})
    assert first != last
    assert SPACE.size == sizes[0] * sizes[1] * sizes[2] * sizes[3] * sizes[4] > 500
    for settings in (first, last):
        assert overlaid(RECIPE, settings.overlay(RECIPE)).serving.max_batch == settings.max_batch


@pytest.mark.parametrize(
    ("cores", "layouts"),
    [
        (1, {(1, 1)}),
        (2, {(1, 1), (1, 2), (2, 1), (2, 2)}),
        (6, {(1, 4), (1, 6), (2, 2), (2, 4), (2, 6), (4, 1), (4, 2), (6, 1), (6, 2)}),
    ],
)
def test_layouts_keep_the_cores_busy(cores, layouts):
    recipe = recipe_from_document(SMALLEST)
    space = Space.of_recipe(recipe, [("cpu", "fp32")], cores)
    assert set(space.layouts[1:]) == layouts
    assert space.layouts[0] == (1, None)


def test_batches_are_what_engines_and_requests_allow():
    recipe = recipe_from_document(changed("targets.cpu.profile", {"max_batch": 32}, changed("serving.max_batch", 24)))
    assert Space.of_recipe(recipe, [("cpu", "fp32")], 2).batches == (4, 8, 16, 24, 32)
    windows = {"kind": "question_context", "max_windows": 12}
    asked = {**SMALLEST, "task": {"kind": "question_answering"}, "input": windows}
    assert Space.of_recipe(recipe_from_document(asked), [("cpu", "fp32")], 2).batches[0] == 16


def test_the_overlay_of_the_targets_own_precision_leaves_the_target_alone():
    overlay = OWN.overlay(RECIPE)
    assert overlay == {
        "target": "cpu",
        "serving": {"max_batch": 16, "queue_delay_us": 300, "instances": 1, "threads": 1, "call_cost": None},
    }
    assert overlaid(RECIPE, overlay) == RECIPE


def test_the_overlay_of_another_precision_makes_a_recipe_that_validates():
    recipe = recipe_from_document({**SMALLEST, "targets": {"cpu": {**QUANTIZED, "fallback": ["fp32"]}}})
    settings = Settings("cpu", "fp32", 8, 0, 1, None)
    spec = overlaid(recipe, settings.overlay(recipe)).targets["cpu"]
    assert spec.precisions == ("fp32",)
    assert "quantization" not in spec.model_fields_set


def test_another_target_becomes_the_default():
    targets = {"exact": SMALLEST["targets"]["cpu"], "small": QUANTIZED}
    recipe = recipe_from_document({**SMALLEST, "targets": targets})
    assert overlaid(recipe, own_settings(recipe, "small", "int8_dynamic").overlay(recipe)).default_target == "small"


def test_settings_are_told_in_a_line():
    assert OWN.label == "cpu (fp32), batch 16 cut as measured, delay 300 us, 1 x 1 threads"
    assert Settings("fp32", "fp32", 8, 0, 2, None, 1e9).label == "fp32, batch 8 cut never, delay 0 us, 2 x all threads"
    assert " 8 cut at 32, " in Settings("fp32", "fp32", 8, 0, 2, None, 32.0).label
