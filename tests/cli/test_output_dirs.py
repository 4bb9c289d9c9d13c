"""Output directories: no two commands share one, and one that is locked is not written to."""

import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import hydra.core.utils
import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from ebm_cli.cli.output_dirs import make_exclusive
from ebm_cli.errors import UserError
from ebm_cli.runs.directory import RunDirectory
from tests.support import FAST, Ebm, StandIn, no_pictures


@pytest.fixture
def _stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """For Hydra, everything in the test happens in one microsecond."""
    moment = datetime(2026, 1, 2, 3, 4, 5, 678)

    class Stopped(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return moment

    monkeypatch.setattr(hydra.core.utils, "datetime", Stopped)


@pytest.mark.usefixtures("_stopped_clock")
@pytest.mark.parametrize(
    "words", [pytest.param((), id="runs"), pytest.param(("-m", "seed=1,2"), id="sweeps", marks=pytest.mark.slow)]
)
def test_commands_of_one_microsecond_share_no_directory(
    ebm: Ebm, stand_in: StandIn, tmp_path: Path, words: tuple[str, ...]
) -> None:
    found: list[str] = []
    stand_in("train", lambda cfg: found.append(HydraConfig.get().runtime.output_dir))
    for _ in range(2):
        assert ebm("train", *words).code == 0
    assert len(set(found)) == len(found) == (2 if not words else 4)
    first = Path(found[0]) if not words else Path(found[0]).parent
    assert first.name == "03-04-05-000678"
    assert all(Path(path).is_dir() and tmp_path in Path(path).parents for path in found)
    assert first.with_name(f"{first.name}-2") in {Path(path) if not words else Path(path).parent for path in found}


def test_make_exclusive_shares_no_directory_among_threads(tmp_path: Path) -> None:
    """Twenty threads that start together."""
    barrier, found = threading.Barrier(20), []

    def make() -> None:
        config = OmegaConf.create({"hydra": {"run": {"dir": f"{tmp_path}/${{now:%H}}"}, "overrides": {"hydra": []}}})
        barrier.wait()
        make_exclusive(config, "hydra.run.dir")
        found.append((config.hydra.run.dir, list(config.hydra.overrides.hydra)))

    OmegaConf.register_new_resolver("now", lambda _: "now", replace=True)
    threads = [threading.Thread(target=make) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = {Path(path).name for path, _ in found}
    assert names == {"now", *(f"now-{number}" for number in range(2, 21))}
    assert all(told == ([] if path.endswith("/now") else [f"hydra.run.dir={path}"]) for path, told in found)


@pytest.mark.usefixtures("_stopped_clock")
def test_named_directory_is_used_as_it_is(ebm: Ebm, stand_in: StandIn, tmp_path: Path) -> None:
    found: list[str] = []
    stand_in("train", lambda cfg: found.append(HydraConfig.get().runtime.output_dir))
    for _ in range(2):
        assert ebm("train", "hydra.run.dir=mine").code == 0
        assert ebm("train", "-m", "seed=1", "hydra.sweep.dir=ours").code == 0
    assert [Path(path) for path in found] == [tmp_path / "mine", tmp_path / "ours" / "0"] * 2


def test_locked_directory_is_not_written_to(ebm: Ebm, tmp_path: Path) -> None:
    """Also while the first command has written nothing yet: Hydra would overwrite its files."""
    (tmp_path / "run").mkdir()
    with RunDirectory(tmp_path / "run"):
        ran = ebm("train", *FAST, "steps=2", "hydra.run.dir=run", "seed=1")
    advice = "wait for it, end it, or choose another directory with hydra.run.dir=PATH"
    assert (ran.code, ran.err) == (1, f"ebm: {tmp_path / 'run'}: another process is running in it; {advice}\n")
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


def test_directory_is_locked_before_hydra_writes(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_pictures(monkeypatch)
    to_yaml = OmegaConf.to_yaml
    written: list[str] = []

    def to_yaml_while_locked(cfg: Any, *args: Any, **kwargs: Any) -> str:
        """Hydra calls it for each of its files, in the task's directory."""
        with pytest.raises(UserError, match="another process is running in it"):
            RunDirectory(tmp_path / "run")
        text = to_yaml(cfg, *args, **kwargs)
        written.append(text)
        return text

    monkeypatch.setattr(OmegaConf, "to_yaml", to_yaml_while_locked)
    assert ebm("train", *FAST, "steps=2", "hydra.run.dir=run").code == 0
    stored = {path.read_text() for path in (tmp_path / "run" / ".hydra").iterdir()}
    assert len(stored) == 3
    assert stored <= set(written)
    RunDirectory(tmp_path / "run").close()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["hydra.launcher=null"], "hydra.launcher must be a mapping with _target_"),
        (["hydra.job_logging.handlers.file.filename=nowhere/x.log"], "hydra: the logging cannot be set up: no file"),
        (["hydra.job_logging.root.level=LOUD"], "hydra: the logging cannot be set up: "),
        (["hydra.job_logging.handlers.file.encoding=nan"], "hydra: the logging cannot be set up: "),
        (["hydra.job_logging.handlers.file.encoding=utf-99"], "hydra: the logging cannot be set up: unknown encoding"),
        (["+hydra.job_logging.handlers.file.mode=q"], "hydra: the logging cannot be set up: invalid mode"),
    ],
)
def test_launch_that_would_fail_is_refused(
    ebm: Ebm, stand_in: StandIn, tmp_path: Path, words: list[str], line: str
) -> None:
    seen = stand_in("train")
    ran = ebm("train", *words)
    assert ran.err.startswith(f"ebm: {line}")
    assert (ran.code, len(ran.err.splitlines()), seen) == (1, 1, [])
    assert list(tmp_path.iterdir()) == []


def test_directory_with_outside_links_is_refused(ebm: Ebm, stand_in: StandIn, tmp_path: Path) -> None:
    seen = stand_in("train")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "status.json").write_text('{"state": "running", "step": 0}')
    (tmp_path / "run" / "inside").symlink_to("status.json")
    assert ebm("train", "hydra.run.dir=run").code == 0
    (tmp_path / "run" / "outside").symlink_to(tmp_path)
    ran = ebm("train", "hydra.run.dir=run")
    assert ran.err.startswith("ebm: run/outside: a link out of the run's directory")
    assert (ran.code, len(seen)) == (1, 1)


@pytest.mark.parametrize("flags", [(), ("-m",)])
def test_directory_that_hydra_reads_as_a_key_is_refused(
    ebm: Ebm, stand_in: StandIn, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    seen, key = stand_in("train"), "hydra.sweep.dir" if flags else "hydra.run.dir"
    ran = ebm("train", *flags, rf"{key}='\${{a}}/b'")
    assert ran.err.startswith(f"ebm: {tmp_path}/${{a}}/b")
    assert ran.err.endswith(f"Hydra cannot use a directory whose name contains ${{; name another one with {key}=DIR\n")
    assert (ran.code, seen, list(tmp_path.iterdir())) == (1, [], [])
