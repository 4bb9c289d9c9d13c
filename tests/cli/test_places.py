"""Directories that another program wrote, or that cannot be made."""

import json
from pathlib import Path

import pytest

from ebm_cli.cli.places import OURS, require_own_place, require_writable
from ebm_cli.errors import UserError
from ebm_cli.system.files import remove_leftovers
from tests.support import Ebm, StandIn

VERBS = {"train": (), "sample": ("checkpoint=run",), "evaluate": ("checkpoint=run",), "compare": ("runs=run",)}


@pytest.fixture(autouse=True)
def _run(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", ["results.json", "config.yaml", "status.json"])
def test_a_directory_of_another_program_is_refused(
    ebm: Ebm, stand_in: StandIn, tmp_path: Path, verb: str, name: str
) -> None:
    seen = stand_in(verb)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text('{"accuracy": 1}')
    ran = ebm(verb, *VERBS[verb], "hydra.run.dir=mine")
    assert ran.err.startswith(f"ebm: {tmp_path / 'mine'}: holds {name}, which ebm {verb} did not write; name another")
    assert (ran.code, seen, len(ran.err.splitlines())) == (1, [], 1)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == [name]
    assert (tmp_path / "mine" / name).read_text() == '{"accuracy": 1}'


def test_a_job_of_a_sweep_is_refused_before_the_first_starts(ebm: Ebm, stand_in: StandIn, tmp_path: Path) -> None:
    seen = stand_in("train")
    (tmp_path / "all" / "1").mkdir(parents=True)
    (tmp_path / "all" / "1" / "results.json").write_text("{}")
    ran = ebm("train", "-m", "seed=1,2", "hydra.sweep.dir=all")
    assert "all/1: holds results.json, which ebm train did not write" in ran.err
    assert (ran.code, seen, sorted(path.name for path in (tmp_path / "all").iterdir())) == (1, [], ["1"])


def test_a_command_may_write_where_it_wrote_before(ebm: Ebm, stand_in: StandIn, tmp_path: Path) -> None:
    stand_in("sample", lambda cfg: Path("again/results.json").write_text("{}"))
    for _ in range(2):
        ran = ebm("sample", "checkpoint=run", "hydra.run.dir=again")
        assert ran.code == 0, ran.err
    stand_in("evaluate")
    assert "again: holds results.json, of ebm sample;" in ebm("evaluate", "checkpoint=run", "hydra.run.dir=again").err


@pytest.mark.parametrize("written", [(), ("config.yaml",), ("config.yaml", "hydra.yaml")])
def test_a_command_killed_at_its_start_may_be_repeated(
    ebm: Ebm, stand_in: StandIn, tmp_path: Path, written: tuple[str, ...]
) -> None:
    """Hydra writes its folder first, overrides.yaml last, and a kill may leave a part of it."""
    stand_in("train")
    assert ebm("train", "hydra.run.dir=killed").code == 0
    folder = tmp_path / "killed" / ".hydra"
    for name in {"config.yaml", "hydra.yaml", "overrides.yaml"} - {*written}:
        (folder / name).unlink()
    if "hydra.yaml" in written:
        whole = (folder / "hydra.yaml").read_text()
        (folder / "hydra.yaml").write_text(whole[: whole.index("config_name: train") + len("config_name: tra")])
    assert ebm("train", "hydra.run.dir=killed").code == 0
    assert {path.name for path in folder.iterdir()} == {"config.yaml", "hydra.yaml", "overrides.yaml"}


def test_half_a_folder_of_hydra_beside_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run" / ".hydra").mkdir()
    require_own_place(tmp_path / "run", "sample")
    (tmp_path / "run" / "samples.npz").write_bytes(b"")
    with pytest.raises(UserError, match=r"run: holds \.hydra, which ebm sample did not write"):
        require_own_place(tmp_path / "run", "sample")


def test_the_folder_of_another_hydra_program_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run" / ".hydra"
    folder.mkdir()
    (folder / "overrides.yaml").write_text("[]")
    (folder / "hydra.yaml").write_text("hydra: {job: {config_name: theirs}}")
    with pytest.raises(UserError, match=r"run: holds \.hydra, of ebm theirs"):
        require_own_place(tmp_path / "run", "train")


def test_results_of_a_run_are_not_overwritten_by_others(tmp_path: Path) -> None:
    (tmp_path / "run" / "status.json").write_text(json.dumps({"state": "finished", "step": 3}))
    require_own_place(tmp_path / "run", "train")
    with pytest.raises(UserError, match=r"run: holds status.json, of ebm train; name another directory"):
        require_own_place(tmp_path / "run", "evaluate")


def test_a_directory_without_names_of_ours_may_be_used(tmp_path: Path) -> None:
    (tmp_path / "run" / "notes.txt").write_text("mine")
    require_own_place(tmp_path / "run", "train")
    assert "notes.txt" not in OURS


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("/proc/x", "/proc/x: the file system takes no directory there"),
        ("/dev/null/x", "/dev/null/x: /dev/null is a file"),
        ("file", "file: is a file"),
        ("file/x", "file/x: "),
        ("dangling/x", "dangling is a broken link"),
        ("x" * 300, ": the name is too long"),
    ],
)
@pytest.mark.parametrize("verb", ["train", "sample"])
def test_an_impossible_place_is_one_line(
    ebm: Ebm, stand_in: StandIn, tmp_path: Path, place: str, reason: str, verb: str
) -> None:
    seen = stand_in(verb)
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    ran = ebm(verb, *VERBS[verb], f"hydra.run.dir={place}")
    assert reason in ran.err
    assert ran.err.endswith("name another directory with hydra.run.dir=DIR\n")
    assert (ran.code, seen, len(ran.err.splitlines())) == (1, [], 1)
    if verb == "train" and place in ("file", "/proc/x"):
        ran = ebm("train", "-m", "seed=1,2", f"hydra.sweep.dir={place}")
        assert reason in ran.err
        assert (ran.code, seen, len(ran.err.splitlines())) == (1, [], 1)


def test_a_default_place_in_a_file_is_one_line(ebm: Ebm, stand_in: StandIn, tmp_path: Path) -> None:
    stand_in("train")
    (tmp_path / "outputs").touch()
    assert f"{tmp_path / 'outputs'} is a file; name another directory with hydra.run.dir=DIR" in ebm("train").err


def test_probe_of_a_killed_process_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(Path, "unlink", lambda path, missing_ok=False: None)
        require_writable(tmp_path / "run")
    assert list((tmp_path / "run").iterdir())
    remove_leftovers(tmp_path / "run")
    assert not list((tmp_path / "run").iterdir())
