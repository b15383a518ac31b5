from __future__ import annotations

import json

import pytest

from tritonpack.core.errors import StoreError
from tritonpack.repository.layout import Content, damaged_files, read_manifest, version_for, write


def of(text):
    return Content.of_bytes(text.encode())


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def listed(repository, recipe="tiny"):
    return read_manifest(repository)["recipes"][recipe]["files"]


def write_files(repository, files, stale=(), recipe="tiny", **entry):
    return write(repository, recipe, entry, {path: of(text) for path, text in files.items()}, set(stale))


def test_content_of_a_file_is_that_of_its_bytes(tmp_path):
    (tmp_path / "a").write_text("abc")
    assert (of("abc").digest, of("abc").size) == (Content.of_file(tmp_path / "a").digest, 3)


def test_the_manifest_names_every_file_with_size_and_digest(tmp_path):
    repository = tmp_path / "models"
    assert write_files(repository, {"enc/1/a.onnx": "AAA", "tiny/config.pbtxt": "C"}, note="x") is True
    manifest = json.loads((repository / "manifest.json").read_text())
    assert manifest == {
        "format": 1,
        "recipes": {
            "tiny": {
                "note": "x",
                "files": {
                    "enc/1/a.onnx": {"size": 3, "sha256": of("AAA").digest},
                    "tiny/config.pbtxt": {"size": 1, "sha256": of("C").digest},
                },
            }
        },
    }
    assert (repository / "tiny" / "1").is_dir()


def test_nothing_is_written_twice(tmp_path):
    repository = tmp_path / "models"
    write_files(repository, {"a": "A"})
    before = (repository / "manifest.json").stat()
    assert write_files(repository, {"a": "A"}) is False
    assert (repository / "manifest.json").stat() == before


def test_a_file_that_is_at_hand_isnt_fetched(tmp_path):
    repository = tmp_path / "models"
    write_files(repository, {"a": "A"})
    untouched = Content(of("A").digest, 1, lambda: pytest.fail("fetched"))
    assert write(repository, "tiny", {}, {"a": untouched, "b": of("B")}, set()) is True
    assert (repository / "b").read_text() == "B"


@pytest.mark.parametrize("damage", ["B", "AB", None])
def test_a_damaged_file_is_put_right(tmp_path, damage):
    repository = tmp_path / "models"
    write_files(repository, {"a": "A"})
    if damage is None:
        (repository / "a").unlink()
    else:
        (repository / "a").write_text(damage)
    assert damaged_files(repository, "tiny") == {"a": "missing" if damage is None else "changed"}
    assert write_files(repository, {"a": "A"}) is True
    assert (repository / "a").read_text() == "A"
    assert damaged_files(repository, "tiny") == {}


def test_another_recipe_and_files_that_arent_ours_stay(tmp_path):
    repository = tmp_path / "models"
    write_files(repository, {"one/x": "1"}, recipe="one")
    (repository / "handmade").mkdir()
    (repository / "handmade" / "config.pbtxt").write_text("mine")
    write_files(repository, {"two/x": "2"}, recipe="two")
    assert sorted(read_manifest(repository)["recipes"]) == ["one", "two"]
    assert {"one/x": "1", "two/x": "2", "handmade/config.pbtxt": "mine"}.items() <= contents(repository).items()


def test_what_is_stale_goes(tmp_path):
    repository = tmp_path / "models"
    write_files(repository, {"a": "A", "old": "O"})
    assert write_files(repository, {"a": "A"}, stale=["old", "never"]) is True
    assert not (repository / "old").exists()
    assert list(listed(repository)) == ["a"]


def test_folders_that_become_empty_go_with_what_is_stale(tmp_path):
    repository = tmp_path / "models"
    write_files(repository, {"a/1/x": "A", "b/1/x": "B", "b/config.pbtxt": "C"})
    (repository / "b" / "notes.txt").write_text("mine")
    write_files(repository, {"c": "C"}, stale=["a/1/x", "b/1/x", "b/config.pbtxt"])
    assert not (repository / "a").exists()
    assert [path.name for path in (repository / "b").iterdir()] == ["notes.txt"]


def test_a_file_that_cant_be_fetched_leaves_the_repository_as_it_was(tmp_path):
    repository = tmp_path / "models"
    write_files(repository, {"a": "A"})
    before = contents(repository)

    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write(repository, "tiny", {}, {"a": of("B"), "z": Content("0" * 64, 1, fail)}, set())
    assert contents(repository) == before


@pytest.mark.parametrize("text", ["{", "\udcff"])
def test_a_manifest_that_doesnt_read_is_a_store_error(tmp_path, text):
    (tmp_path / "manifest.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(StoreError, match=r"manifest\.json isn't JSON") as error:
        read_manifest(tmp_path)
    assert error.value.hint == "Remove it and build again."


@pytest.mark.parametrize("text", ['{"format": 99}', "{}", "[]", "null"])
def test_a_manifest_of_another_format_is_a_store_error(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(StoreError, match=r"manifest\.json has format"):
        read_manifest(tmp_path)


class Versions:
    """One model's versions as `package` keeps them."""

    def __init__(self, repository):
        self.repository = repository

    def build(self, **files):
        contents = {name: of(text) for name, text in files.items()}
        known = read_manifest(self.repository)["recipes"].get("tiny", {}).get("files", {})
        version = version_for(self.repository, "enc", contents, known)
        kept = {path: of((self.repository / path).read_text()) for path in known if (self.repository / path).exists()}
        new = {f"enc/{version}/{name}": content for name, content in contents.items()}
        write(self.repository, "tiny", {}, {**kept, **new}, set())
        return version


@pytest.fixture
def versions(tmp_path):
    return Versions(tmp_path / "models")


def test_the_first_version_is_one_and_the_same_files_stay_in_it(versions):
    assert versions.build(cpu="1") == 1
    assert versions.build(cpu="1") == 1


def test_a_changed_file_goes_beside_the_old_one(versions):
    assert versions.build(cpu="1") == 1
    assert versions.build(cpu="2") == 2
    assert {"enc/1/cpu": "1", "enc/2/cpu": "2"}.items() <= contents(versions.repository).items()
    assert versions.build(cpu="2") == 2


def test_another_target_joins_the_latest_version(versions):
    versions.build(cpu="1")
    assert versions.build(gpu="1") == 1
    assert versions.build(cpu="2") == 2
    assert versions.build(gpu="1") == 2


def test_versions_are_counted_as_numbers(versions):
    for number in range(1, 12):
        assert versions.build(cpu=str(number)) == number


def test_a_damaged_file_is_put_right_in_its_version(versions):
    versions.build(cpu="1")
    (versions.repository / "enc" / "1" / "cpu").write_text("X")
    assert versions.build(cpu="1") == 1
    assert (versions.repository / "enc" / "1" / "cpu").read_text() == "1"


def test_a_file_that_isnt_ours_is_never_overwritten(versions):
    path = versions.repository / "enc" / "1" / "cpu"
    path.parent.mkdir(parents=True)
    path.write_text("handmade")
    assert versions.build(cpu="1") == 2
    assert path.read_text() == "handmade"


def test_an_equal_file_whose_manifest_was_lost_is_taken_over(versions):
    versions.build(cpu="1")
    (versions.repository / "manifest.json").unlink()
    assert versions.build(cpu="1") == 1
