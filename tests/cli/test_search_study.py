"""The study of a search: it continues, is shared, survives failed trials, and stops bad ones."""

from pathlib import Path
from typing import Any

import pytest

optuna = pytest.importorskip("optuna")

from optuna.trial import TrialState  # noqa: E402

from ebm_cli.cli import search_study  # noqa: E402
from ebm_cli.cli.search_space import Numbers, Words  # noqa: E402
from ebm_cli.cli.search_study import Options, Search  # noqa: E402
from ebm_cli.errors import UserError  # noqa: E402

SPACE: dict[str, Numbers | Words] = {"lr": Numbers(1e-4, 1e-2, is_log=True), "method": Words(("nce", "sm"))}


def options(n_trials: int = 3, **changed: Any) -> Options:
    return Options(n_trials, "ebm", None, "tpe", 0, "median", 1)._replace(**changed)


@pytest.fixture
def journal(tmp_path: Path) -> str:
    """A storage that is made faster than a database."""
    return str(tmp_path / "study.journal")


def values(search: Search) -> list[str]:
    numbers = iter(search.next_trial, None)
    return [" ".join(search.overrides(number)) for number in numbers]


def test_a_trial_follows_from_seed_and_number(tmp_path: Path, journal: str) -> None:
    first = values(Search(options(sampler="random", storage=journal), SPACE, tmp_path))
    assert len(set(first)) == 3
    assert all(word.startswith("lr=0.00") and " method=" in word for word in first)
    other = Search(options(sampler="random", storage=str(tmp_path / "b.journal")), SPACE, tmp_path)
    assert values(other) == first


def test_the_same_command_takes_over_interrupted_trials(tmp_path: Path) -> None:
    search = Search(options(), SPACE, tmp_path)
    assert [search.next_trial(), search.next_trial()] == [0, 1]
    search.began(1, tmp_path / "1")
    words = search.overrides(1)
    search.tell(0, 0.5)
    search.leave(1)
    again = Search(options(), SPACE, tmp_path)
    assert [again.next_trial(), again.next_trial(), again.next_trial()] == [1, 2, None]
    assert (again.overrides(1), again.folder(1), again.folder(2)) == (words, tmp_path / "1", None)


def test_trials_of_others_are_counted_except_those_they_left(tmp_path: Path, journal: str) -> None:
    other, mine = (Search(options(5, storage=journal), SPACE, tmp_path) for _ in range(2))
    assert [other.next_trial(), other.next_trial()] == [0, 1]
    other.began(0, tmp_path / "elsewhere" / "0")
    other.tell(0, 0.5)
    other.leave(1)
    assert mine.count_of_others(()) == 1
    assert [mine.next_trial(), mine.next_trial()] == [1, 2]
    assert mine.count_of_others((1, 2)) == 1
    assert (mine.place(0), mine.place(2)) == (tmp_path / "elsewhere" / "0", None)


def test_a_running_trial_of_another_process_is_left_to_it(
    tmp_path: Path, journal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = (Search(options(storage=journal), SPACE, tmp_path) for _ in range(2))
    assert mine.next_trial() == 0
    monkeypatch.setattr(search_study.os, "getpid", lambda: 1)  # which lives
    assert [other.next_trial(), other.next_trial(), other.next_trial()] == [1, 2, None]
    mine.tell(0, 0.2)
    other.tell(1, 0.1)
    assert mine.best is not None
    assert mine.best[:2] == (1, 0.1)


def test_failed_trials_count_and_do_not_end_the_study(tmp_path: Path, journal: str) -> None:
    search = Search(options(storage=journal), SPACE, tmp_path)
    for value in (None, None, 0.3):
        number = search.next_trial()
        assert number is not None
        search.tell(number, value, "" if value else "diverged")
    assert search.next_trial() is None
    assert (search.count(TrialState.FAIL), search.count(TrialState.COMPLETE)) == (2, 1)
    assert search.best is not None
    assert search.best[:2] == (2, 0.3)


def test_a_trial_worse_than_half_of_the_others_is_stopped(tmp_path: Path, journal: str) -> None:
    search = Search(options(9, startup=3, storage=journal), SPACE, tmp_path)
    for value in (0.1, 0.2, 0.3):
        number = search.next_trial()
        assert number is not None
        assert not search.should_stop(number, {10: value})
        search.tell(number, value)
    good, bad = search.next_trial(), search.next_trial()
    assert good is not None
    assert bad is not None
    assert not search.should_stop(good, {10: 0.15})
    assert search.should_stop(bad, {10: 0.25})
    assert not search.should_stop(bad, {10: 0.25})  # said once
    search.tell(bad, None, "stopped early", is_pruned=True)
    assert search.count(TrialState.PRUNED) == 1


def test_wrong_options_and_another_study_are_refused(tmp_path: Path, journal: str) -> None:
    for wrong in ({"n_trials": 0}, {"seed": -1}, {"startup": True}, {"sampler": "cmaes"}, {"pruner": "never"}):
        with pytest.raises(UserError, match=rf"hydra.sweeper.{next(iter(wrong))}="):
            options(**wrong).check()
    options().check()
    with pytest.raises(UserError, match="neither a URL such as sqlite:///study"):
        Search(options(storage="study.db"), SPACE, tmp_path)
    search = Search(options(storage=journal), SPACE, tmp_path)
    assert search.next_trial() == 0
    with pytest.raises(UserError, match=r"its trials choose lr, method in .*; name another study"):
        Search(options(storage=journal), {"width": Numbers(1, 9)}, tmp_path)


def test_a_study_of_other_values_or_settings_is_refused(tmp_path: Path, journal: str) -> None:
    """Before a trial is made, which would stay in the study without its values."""
    first = Search(options(storage=journal), SPACE, tmp_path, ["steps=9", "threads=1"])
    assert first.next_trial() == 0
    first.tell(0, 0.5)
    for other in (Words(("nce", "cd")), Numbers(1, 9)):
        with pytest.raises(UserError, match=r"its trials choose method among other values in .*; name another study"):
            Search(options(storage=journal), SPACE | {"method": other}, tmp_path)
    with pytest.raises(UserError, match=r"its trials have other settings \(steps=9\) in .*; name another study"):
        Search(options(storage=journal), SPACE, tmp_path, ["steps=10"])
    wider = SPACE | {"lr": Numbers(1e-5, 1e-2, is_log=True)}
    assert Search(options(storage=journal), wider, tmp_path, ["threads=2", "steps=9"]).next_trial() == 1


def test_a_trial_killed_before_it_has_its_values_gets_them(tmp_path: Path, journal: str) -> None:
    killed = Search(options(storage=journal), SPACE, tmp_path)
    trial = killed.study.ask()
    trial.set_user_attr(search_study.MINE, {})
    trial.suggest_float("lr", 1e-4, 1e-2, log=True)
    again = Search(options(storage=journal), SPACE, tmp_path)
    assert again.next_trial() == 0
    assert " method=" in " ".join(again.overrides(0))


def test_a_database_made_by_two_commands_at_once_is_opened(
    tmp_path: Path, journal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite refuses the tables of the second; that of a damaged file is no reason to try again."""
    right, lost = search_study._open, ["UNIQUE constraint failed: alembic_version.version_num", "table exists"]

    def opened(storage: str) -> Any:
        if lost:
            raise RuntimeError(lost.pop(0))
        return right(storage)

    monkeypatch.setattr(search_study, "_open", opened)
    monkeypatch.setattr(search_study.time, "sleep", lambda seconds: None)
    with pytest.raises(UserError, match="table exists"):
        Search(options(storage=journal), SPACE, tmp_path)
    lost.append("table studies already exists")
    assert Search(options(storage=journal), SPACE, tmp_path).next_trial() == 0
