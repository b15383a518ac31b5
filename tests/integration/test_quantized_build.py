"""Precisions that have to be good enough: searches, gates, fallbacks."""

from __future__ import annotations

import json

import onnx
import pytest
from tiny_bert import accuracy_gate, text_of, unlabelled

from tritonpack.api import build
from tritonpack.core.errors import RecipeError, SourceError, VerificationError
from tritonpack.engines import ENGINES
from tritonpack.repository.layout import read_manifest

INT8 = {"engine": "onnxruntime", "precision": "int8"}
FALLING = {**INT8, "fallback": ["int8_dynamic", "fp32"]}
# FP32 keeps it, and neither kind of INT8 does.
STRICT = {"parity": {"small": {"min_cosine": 0.9999999}}}


def quantized(project, *, target=INT8, **gates):
    return project.build("small", targets={"small": target}, gates=gates)


def facts_of(result, stage):
    return next(step["facts"] for step in result.targets[0].lineage if step["stage"] == stage)


def worst_cosine(result):
    return result.targets[0].verification[1]["outputs"]["embedding_output"]["min_cosine"]


def between(result, share=0.4):
    """A gate that this result breaks, and one that is only somewhat nearer to PyTorch keeps."""
    cosine = worst_cosine(result)
    return cosine + share * (1 - cosine)


def files_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def outcomes(result):
    return {step.outcome.value for step in result.steps}


def test_a_search_keeps_in_floating_point_what_the_gates_dont_let_go(project):
    whole = quantized(project)
    gates = {"accuracy": accuracy_gate(project.root), "parity": {"small": {"min_cosine": between(whole)}}}
    result = quantized(project, **gates)
    found = facts_of(result, "search")
    chosen = {layer["name"] for layer in found["layers"] if layer["quantized"]}
    kept = [layer["name"] for layer in found["layers"] if not layer["quantized"]]
    assert chosen
    assert kept
    assert sum(layer["gain"] for layer in found["layers"]) == pytest.approx(1)
    assert all(layer["damage"] > 0 for layer in found["layers"])
    assert found["chosen"]["violation"] == ""
    assert found["chosen"]["damage"] < found["everything"]["damage"]
    assert "lowest cosine" in found["everything"]["violation"]
    assert facts_of(result, "lower")["kept"] == kept
    assert worst_cosine(result) >= between(whole)
    gate = result.targets[0].verification[-1]
    assert (gate["status"], gate["metric"], gate["samples"]) == ("verified", "spearman", 40)
    assert gate["candidate_value"] == pytest.approx(found["chosen"]["metric"], abs=1e-6)
    entry = read_manifest(project.repository)["recipes"]["tiny"]["targets"]["small"]
    assert next(step["facts"] for step in entry["lineage"] if step["stage"] == "search") == found
    assert entry["refused"] == []
    graph = onnx.load(project.repository / "tiny_encoder" / "2" / "small.onnx").graph
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    products = [node for node in graph.node if node.op_type == "MatMul" and made_by.get(node.input[1]) != "Transpose"]
    in_int8 = [node for node in products if made_by.get(node.input[1]) == "DequantizeLinear"]
    assert len(in_int8) == sum(layer["nodes"] for layer in found["layers"] if layer["quantized"])

    again = quantized(project, **gates)
    assert outcomes(again) == {"hit"}
    assert again.packaged.changed is False


def test_another_number_of_trials_takes_none_anew(project):
    """Trials are actions as well: a second search finds what the first one measured."""
    whole = quantized(project)
    seen = Trials()
    recipe = project.recipe(targets={"small": INT8}, gates={"parity": {"small": {"min_cosine": between(whole)}}})
    for _ in range(2):
        build(recipe, ["small"], repository=project.repository, store=project.store, observer=seen)
    first = seen.ran
    # The damages were measured for another gate already; sets of layers are judged anew.
    assert 1 < first < 8
    build(recipe, ["small"], repository=project.repository, store=project.store, observer=seen, budget_trials=63)
    assert seen.ran == first


class Trials:
    """Counts the trials that ran."""

    def __init__(self):
        self.ran = 0

    def started(self, action):
        self.ran += action.stage == "trial"

    def finished(self, step):
        pass


def test_a_budget_that_cant_be_met_is_exit_code_4_and_changes_nothing(project):
    quantized(project)
    before = files_of(project.repository)
    project.recipe(targets={"small": INT8}, gates=STRICT)
    result = project.run("build", "--target", "small", "--json")
    assert (result.returncode, result.stdout) == (4, "")
    error = json.loads(result.stderr)
    assert error["error"] == "VerificationError"
    assert "int8: none of " in error["message"]
    assert "nearest: " in error["message"]
    assert "lowest cosine 0.9" in error["message"]
    assert "`fallback`" in error["hint"]
    assert {layer["quantized"] for layer in error["context"]["layers"]} == {False}
    assert files_of(project.repository) == before


def test_a_target_falls_back_and_says_what_was_refused(project, caplog):
    result = quantized(project, target=FALLING, **STRICT)
    (target,) = result.targets
    assert target.precision == "fp32"
    assert [refused["precision"] for refused in target.refused] == ["int8", "int8_dynamic"]
    assert all("none of " in refused["why"] for refused in target.refused)
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert [warning.partition(":")[0] for warning in warnings] == ["target small"] * 2
    assert "int8 is refused, falling back to int8_dynamic" in warnings[0]
    assert "int8_dynamic is refused, falling back to fp32" in warnings[1]
    entry = read_manifest(project.repository)["recipes"]["tiny"]["targets"]["small"]
    assert (entry["precision"], entry["refused"]) == ("fp32", target.refused)
    assert [step["stage"] for step in entry["lineage"]] == ["export", "lower", "ragged", "compile"]
    fallen = quantized(project, target=FALLING, **STRICT)
    assert fallen.packaged.changed is False
    assert fallen.targets[0].refused == target.refused
    # Another target of the recipe leaves it where it is.
    both = {"small": FALLING, "other": {"engine": "onnxruntime", "precision": "fp32"}}
    assert project.build("other", targets=both, gates=STRICT).packaged.served == ("small", "other")


def test_a_fallback_is_told_to_people_too(project):
    project.recipe(targets={"small": FALLING}, gates=STRICT)
    result = project.run("build", "--target", "small")
    assert result.returncode == 0, result.stderr
    assert "tiny, target small (fp32), against PyTorch FP32" in result.stdout
    lines = " ".join(result.stdout.split())
    assert "int8 was refused: int8: none of " in lines
    assert "int8_dynamic was refused: int8_dynamic: none of " in lines
    assert "int8 is refused, falling back to int8_dynamic" in " ".join(result.stderr.split())


def test_a_search_is_told_to_people(project):
    project.recipe(targets={"small": INT8})
    result = project.run("build", "--target", "small")
    assert result.returncode == 0, result.stderr
    assert "8 of 8 groups of layers, 100% of the multiplications in int8, after 9 trials" in " ".join(
        result.stdout.split()
    )


def test_an_accuracy_gate_refuses_where_parity_doesnt(project):
    """INT8 moves the metric by something; a budget below nothing can't be kept."""
    whole = quantized(project, accuracy=accuracy_gate(project.root, max_drop=1))
    gate = whole.targets[0].verification[-1]
    assert gate["max_drop"] == 1
    with pytest.raises(VerificationError) as error:
        quantized(project, accuracy={"dataset": unlabelled(project.root), "max_drop": 1e-9})
    assert "cosine falls from 1.0000 to " in error.value.message
    assert "none of " in error.value.message


def test_a_metric_that_doesnt_fit_stops_before_anything_is_made(fresh):
    gate = {**accuracy_gate(fresh.root), "metric": "acuracy"}
    with pytest.raises(RecipeError, match=r"gates\.accuracy\.metric: 'acuracy' doesn't fit.*spearman, pearson"):
        fresh.build("fp32", gates={"accuracy": gate})
    assert not (fresh.store / "actions").exists()


def test_what_isnt_faster_is_refused_with_the_figures(project):
    with pytest.raises(VerificationError) as error:
        quantized(project, min_speedup=1000)
    assert "onnxruntime int8: " in error.value.message
    assert " times as fast as fp32 (" in error.value.message
    assert "for 32 rows), but gates.min_speedup is 1000: it doesn't pay" in error.value.message
    assert not project.repository.exists()


def test_what_isnt_faster_falls_back(project):
    dynamic = {"engine": "onnxruntime", "precision": "int8_dynamic", "fallback": ["fp16", "fp32"]}
    (target,) = quantized(project, target=dynamic, min_speedup=1000).targets
    assert target.precision == "fp32"
    assert [refused["precision"] for refused in target.refused] == ["int8_dynamic", "fp16"]
    assert "times as fast as fp16 (" in target.refused[0]["why"]
    assert "times as fast as fp32 (" in target.refused[1]["why"]


def test_what_has_to_pay_little_is_measured_and_built(project):
    reports = quantized(project, min_speedup=1e-6).targets[0].verification
    assert (reports[-1]["status"], reports[-1]["safer"], reports[-1]["rows"]) == ("verified", "fp32", 32)


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ("", "0 calibration samples are too few; it takes at least 8"),
        ("\n\n \n", "0 calibration samples are too few"),
        ("\n".join(map(text_of, range(7))), "7 calibration samples are too few"),
    ],
    ids=["empty", "blank", "seven"],
)
def test_calibration_on_next_to_nothing_is_refused(project, texts, words):
    (project.root / "few.txt").write_text(texts, encoding="utf-8")
    with pytest.raises(SourceError, match=words):
        project.build("int8", calibration={"file": "few.txt"})
    assert not project.repository.exists()


def test_calibration_on_what_the_gate_asks_is_refused(project):
    gates = {"accuracy": accuracy_gate(project.root)}
    rows = [json.loads(line) for line in (project.root / "pairs.jsonl").read_text().splitlines()]
    texts = [row[side] for row in rows for side in ("left", "right")]
    (project.root / "asked.txt").write_text("\n".join(texts), encoding="utf-8")
    with pytest.raises(SourceError, match="the calibration set holds the evaluation set itself") as error:
        project.build("int8", calibration={"file": "asked.txt"}, gates=gates)
    assert error.value.exit_code == 2
    assert not project.repository.exists()


def test_a_calibration_data_set_without_the_inputs_column_is_refused(project):
    path = project.root / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"review": text_of(row)}) for row in range(20)), encoding="utf-8")
    dataset = {"kind": "labelled", "file": str(path), "label": None}
    with pytest.raises(SourceError, match=r"has no column 'text'; there are: review"):
        project.build("int8", calibration={"dataset": dataset})
    named = {**dataset, "columns": {"text": "review"}}
    result = project.build("int8", calibration={"dataset": named, "samples": 8})
    assert facts_of(result, "calibration")["samples"] == 8


def test_bfloat16_compiles_for_tensorrt_and_is_verified_before(project):
    if ENGINES.get("tensorrt_rtx").can_execute():
        pytest.skip("this machine has a GPU: the plan is executed and verified")
    target = {"engine": "tensorrt_rtx", "precision": "bf16"}
    (built,) = project.build("brain", targets={"brain": target}).targets
    assert [report["status"] for report in built.verification] == ["verified"] * 3 + ["compiled, not executed"]
    agreement = built.verification[2]["outputs"]["embedding_output"]
    assert 1e-5 < agreement["max_abs_error"] < 0.05
    assert built.content.size > 10_000


@pytest.mark.parametrize("trials", [1, 2, 3])
def test_a_search_takes_no_more_trials_than_it_may(project, trials):
    whole = quantized(project)
    recipe = project.recipe(targets={"small": INT8}, gates={"parity": {"small": {"min_cosine": between(whole)}}})
    seen, told = Trials(), trials
    try:
        result = build(
            recipe,
            ["small"],
            repository=project.repository,
            store=project.store,
            observer=seen,
            budget_trials=trials,
        )
        told = facts_of(result, "search")["trials"]
    except VerificationError as error:
        assert f"keeps the budget, in {trials} trials; nearest: " in error.message  # noqa: PT017  either may be
    # What the first build measured, everything together, isn't measured anew.
    assert told == trials
    assert seen.ran <= trials


def test_the_command_line_bounds_a_search(project):
    whole = quantized(project)
    project.recipe(targets={"small": INT8}, gates={"parity": {"small": {"min_cosine": between(whole)}}})
    result = project.run("build", "--target", "small", "--budget-trials", "1")
    assert result.returncode == 4
    assert "keeps the budget, in 1 trials; nearest: " in " ".join(result.stderr.split())
    assert project.run("build", "--target", "small", "--budget-trials", "0").returncode == 2
