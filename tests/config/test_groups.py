"""Groups, options and keys, read from YAML as text."""

from pathlib import Path

import pytest

from ebm_cli.config.groups import (
    Group,
    Key,
    chosen_groups,
    conf_dir,
    description,
    file_keys,
    find_file,
    group_options,
    is_table,
    paired_groups,
    search_path,
    verb_groups,
    verb_keys,
)

YAML = """# @package _global_
# What it is
defaults:
  - override /noise: flow
steps: 3  # training steps, >= 1
method:
  _target_: my.Method
  k: 5    # steps of a chain
  inner: {a: 1}
plain: x
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "method" / "mine.yaml"
    path.parent.mkdir()
    path.write_text(YAML)
    return path


def test_description_is_the_first_comment_for_readers(file: Path) -> None:
    assert description(file) == "What it is"
    file.write_text("a: 1  # no description\n")
    assert description(file) == ""


def test_file_keys_have_names_defaults_and_comments(file: Path) -> None:
    expected = [
        Key("steps", "3", "training steps, >= 1"),
        Key("method.k", "5", "steps of a chain"),
        Key("method.inner", "{a: 1}", ""),
        Key("plain", "x", ""),
    ]
    assert file_keys(file) == expected
    assert file_keys(file, "method") == expected  # the file says @package _global_
    file.write_text(YAML.partition("\n")[2])
    assert [key.name for key in file_keys(file, "p")] == ["p.steps", "p.method.k", "p.method.inner", "p.plain"]


def test_search_path_ends_with_the_users_folder(file: Path) -> None:
    folders = search_path(str(file.parents[1]))
    assert folders == (conf_dir(), file.parents[1])
    assert find_file("method/mine", folders) == file
    assert find_file("method/none", folders) is None
    options = group_options("method", folders)
    assert options["mine"] == "What it is"
    assert list(options) == sorted(options)


def test_verb_groups_follow_the_defaults_list() -> None:
    groups = {group.name: group for group in verb_groups("train", search_path())}
    assert groups["sampler@eval.sampler"] == Group("sampler@eval.sampler", "sampler", "mala")
    assert groups["sampler@eval.sampler"].package == "eval.sampler"
    assert groups["method"].package == "method"
    assert "pairing" not in groups
    assert groups["energy"].default == "mlp"
    assert paired_groups("train", search_path()) == {"energy", "method"}


def test_chosen_groups_follow_options_and_overrides() -> None:
    def noise(*words: str) -> str | None:
        return chosen_groups("train", words, search_path())["noise"].default

    assert (noise(), noise("method=fce"), noise("method=fce", "noise=uniform")) == ("gaussian", "flow", "uniform")


def test_defaults_of_tables_are_their_own() -> None:
    def chosen(group: str, *words: str) -> str | None:
        return chosen_groups("train", words, search_path())[group].default

    assert [chosen("energy", f"dataset={name}") for name in ("moons", "wine", "file", "digits", "none")] == [
        *("mlp", "tilted", "tilted", "mlp", "mlp"),
    ]
    assert chosen("noise", "dataset=wine") == "reference"
    assert chosen("noise", "dataset=wine", "method=fce") == "reference_flow"
    assert chosen("noise", "dataset=wine", "method=fce", "noise=flow") == "flow"
    assert chosen("energy", "experiment=tables") == "tilted"


def test_every_method_has_settings_for_tables() -> None:
    """Without them a run on a table has no early stopping, and may end worse than it began."""
    conf = conf_dir()
    names = sorted(path.stem for path in (conf / "method").iterdir())
    assert names == sorted(path.stem.removeprefix("table_") for path in (conf / "table").iterdir())
    for path in (conf / "table").iterdir():
        assert "patience: 15 " in path.read_text(), path


def test_table_is_told_by_its_class_or_by_what_it_is_made_from(tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    folder.mkdir()
    (folder / "mine.yaml").write_text("defaults: [file, _self_]\npath: rows.csv\n")
    (folder / "plain.yaml").write_text("_target_: ebm_cli.datasets.Moons\n")
    (folder / "empty.yaml").write_text("")
    (folder / "itself.yaml").write_text("defaults: [itself]\n")
    found = [
        is_table(name, search_path(str(tmp_path))) for name in ("mine", "plain", "empty", "itself", "absent", None)
    ]
    assert found == [True, False, False, False, False, False]


def test_verb_keys_follow_the_chosen_options() -> None:
    def keys(*words: str) -> dict[str, str]:
        return {key.name: key.default for key in verb_keys("train", words, search_path())}

    assert "sampler.noise_scale" not in keys()
    assert keys("sampler=langevin")["sampler.noise_scale"] == "1.0"
    assert keys("energy=conv", "method=sm")["batch_size"] == "64"
    assert keys("method=sm")["batch_size"] == "512"
