from __future__ import annotations

import pytest

from tritonpack.core.action import Action
from tritonpack.core.digest import digest_of_file
from tritonpack.core.errors import VerificationError
from tritonpack.core.runner import Outcome, Runner, foresee
from tritonpack.core.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


class Bench:
    """Makes actions that note when they run."""

    def __init__(self):
        self.ran = []

    def action(self, name, data=None, version=1, proves=None, **inputs):
        def run(files, out):
            self.ran.append(name)
            joined = "+".join(files[key].read_text() for key in sorted(files))
            out.write_text(data if data is not None else f"{name}({joined})")
            return {"made": name}

        return Action(name, version, {}, inputs, run, description=f"the {name}", proves=proves)


@pytest.fixture
def bench():
    return Bench()


class Watcher:
    def __init__(self):
        self.events = []

    def started(self, action):
        self.events.append(("started", action.stage))

    def finished(self, step):
        self.events.append((step.outcome.value, step.action.stage))


def test_inputs_run_first_and_artifacts_flow(store, bench):
    source = bench.action("source", file="0" * 64)
    left, right = bench.action("left", a=source), bench.action("right", a=source)
    last = bench.action("last", a=left, b=right)
    runner = Runner(store)
    steps = runner.run([last])
    assert bench.ran == ["source", "left", "right", "last"]
    assert [(step.action.stage, step.outcome) for step in steps] == [(name, Outcome.RAN) for name in bench.ran]
    assert runner.artifact(last).read_text() == "last(left(source())+right(source()))"
    assert steps[-1].record.facts == {"made": "last"}


def test_a_second_run_hits_everything(store, bench):
    def graph():
        source = bench.action("source")
        return [bench.action("last", a=source)]

    Runner(store).run(graph())
    bench.ran.clear()
    runner = Runner(store)
    assert [step.outcome for step in runner.run(graph())] == ["hit", "hit"]
    assert bench.ran == []


def test_only_what_changed_and_what_follows_runs_again(store, bench):
    def graph(version):
        source = bench.action("source", version=1)
        middle = bench.action("middle", version=version, data=f"middle {version}", a=source)
        return [bench.action("last", a=middle), bench.action("beside", a=source)]

    Runner(store).run(graph(1))
    bench.ran.clear()
    Runner(store).run(graph(2))
    assert bench.ran == ["middle", "last"]


def test_what_follows_an_equal_artifact_is_a_hit(store, bench):
    """The key counts the input's bytes, not how they came to be."""
    Runner(store).run([bench.action("last", a=bench.action("source", data="same", version=1))])
    bench.ran.clear()
    Runner(store).run([bench.action("last", a=bench.action("source", data="same", version=2))])
    assert bench.ran == ["source"]


def test_the_observer_sees_every_step(store, bench):
    first, second = Watcher(), Watcher()
    Runner(store, first).run([bench.action("last", a=bench.action("source"))])
    Runner(store, second).run([bench.action("last", a=bench.action("source"))])
    assert first.events == [("started", "source"), ("ran", "source"), ("started", "last"), ("ran", "last")]
    assert second.events == [("hit", "source"), ("hit", "last")]


def failing(candidate):
    def run(_inputs, out):
        out.write_text("half a report")
        raise VerificationError("too far off")

    return Action("verify", 1, {}, {"candidate": candidate}, run, proves=candidate)


def test_a_failed_verification_discards_its_candidate_and_nothing_else(store, bench):
    source = bench.action("source")
    candidate = bench.action("candidate", a=source)
    runner = Runner(store)
    with pytest.raises(VerificationError, match="too far off"):
        runner.run([failing(candidate)])
    texts = sorted(path.read_text() for path in (store.root / "blobs").iterdir())
    assert texts == ["source()"]
    assert len(list((store.root / "actions").iterdir())) == 1
    assert list((store.root / "tmp").iterdir()) == []


def test_another_failure_leaves_what_was_proved(store, bench):
    def run(_inputs, _out):
        raise ZeroDivisionError

    source = bench.action("source")
    with pytest.raises(ZeroDivisionError):
        Runner(store).run([Action("broken", 1, {}, {"a": source}, run)])
    bench.ran.clear()
    assert [step.outcome for step in Runner(store).run([source])] == ["hit"]


def test_a_damaged_input_is_made_again_when_it_is_read(store, bench, caplog):
    source = bench.action("source")
    (step,) = Runner(store).run([source])
    blob = store.blob(step.record.digest)
    blob.chmod(0o644)
    blob.write_text("sourcE()")
    bench.ran.clear()
    runner = Runner(store)
    runner.run([bench.action("last", a=bench.action("source"))])
    assert bench.ran == ["source", "last"]
    assert "isn't what it was" in caplog.text
    assert digest_of_file(blob) == step.record.digest


def test_an_artifact_that_was_damaged_after_the_run_is_made_again(store, bench):
    source = bench.action("source")
    runner = Runner(store)
    runner.run([source])
    path = runner.artifact(source)
    path.unlink()
    assert runner.artifact(source).read_text() == "source()"
    assert bench.ran == ["source", "source"]


def test_lineage_tells_each_step_from_the_source(store, bench):
    source = bench.action("source", file="0" * 64)
    last = bench.action("last", a=source)
    runner = Runner(store)
    runner.run([last])
    first, second = runner.lineage(last)
    assert first["stage"] == "source"
    assert first["inputs"] == {"file": "0" * 64}
    assert second["inputs"] == {"a": first["sha256"]}
    assert second["key"] == last.key(second["inputs"])
    assert second["facts"] == {"made": "last"}
    assert digest_of_file(runner.artifact(last)) == second["sha256"]


def test_foresee_tells_hit_miss_and_behind_and_runs_nothing(store, bench):
    def graph(version):
        source = bench.action("source")
        return [bench.action("last", a=bench.action("middle", version=version, data=f"{version}", a=source))]

    def outcomes(version):
        return [(step.action.stage, step.outcome.value) for step in foresee(store, graph(version))]

    assert outcomes(1) == [("source", "miss"), ("middle", "miss, behind another"), ("last", "miss, behind another")]
    Runner(store).run(graph(1))
    bench.ran.clear()
    assert outcomes(1) == [("source", "hit"), ("middle", "hit"), ("last", "hit")]
    assert outcomes(2) == [("source", "hit"), ("middle", "miss"), ("last", "miss, behind another")]
    assert bench.ran == []
