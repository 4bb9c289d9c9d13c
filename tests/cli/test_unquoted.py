"""Words that Hydra's grammar does not read, and folders typed without their key."""

from pathlib import Path

import pytest

from ebm_cli.cli.help import verbs
from ebm_cli.cli.unquoted import PLACES, quote_overrides
from ebm_cli.config.groups import search_path, verb_keys
from ebm_cli.errors import UserError
from tests.support import Ebm, StandIn


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    for folder in ("r/lr=0.1", "a,b", "my (1)"):
        (tmp_path / folder).mkdir(parents=True)


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("checkpoint=r/lr=0.1", "checkpoint='r/lr=0.1'"),
        ("dataset.path=größe.npy", "dataset.path='größe.npy'"),
        ("dataset.path=x&y.npy", "dataset.path='x&y.npy'"),
        ("dataset.path=~/x.npy", "dataset.path=/home/me/x.npy"),
        ("checkpoint=my (1)", "checkpoint='my (1)'"),
        ("checkpoint=a,b", "checkpoint='a,b'"),
        ("checkpoint=c,d", "checkpoint=c,d"),
        ("checkpoint=[a", "checkpoint=[a"),
        ("checkpoint=[r/lr=0.1, ~/b]", "checkpoint=['r/lr=0.1',/home/me/b]"),
        ("checkpoint=[r/lr=0.1,[b]]", "checkpoint=[r/lr=0.1,[b]]"),
        ("checkpoint=their (1)", "checkpoint=their (1)"),
        ("steps=3", "steps=3"),
        ("steps=", "steps="),
        ("~method", "~method"),
        ("seed=range(3)", "seed=range(3)"),
    ],
)
def test_a_value_that_is_only_text_is_quoted(typed: str, read: str) -> None:
    assert quote_overrides([typed], "train", is_sweep=False) == [read]


def test_values_of_a_sweep_are_not_one_path() -> None:
    assert quote_overrides(["checkpoint=a,b"], "sample", is_sweep=True) == ["checkpoint=a,b"]


@pytest.mark.parametrize(
    ("verb", "typed", "read"),
    [
        ("runs", ["r"], ["root=r"]),
        ("runs", ["r", "r/lr=0.1"], ["root=[r,'r/lr=0.1']"]),
        ("sample", ["r/lr=0.1", "seed=3"], ["checkpoint='r/lr=0.1'", "seed=3"]),
        ("density", ["r", "rows.csv", "seed=3"], ["checkpoint=r", "data=rows.csv", "seed=3"]),
        ("density", ["r", "data=rows.csv"], ["checkpoint=r", "data=rows.csv"]),
        ("check", ["samplers"], ["only=samplers"]),
        ("train", ["r"], ["r"]),
        ("runs", ["hydra/launcher=x"], ["hydra/launcher=x"]),
    ],
)
def test_a_folder_alone_is_given_its_key(verb: str, typed: list[str], read: list[str]) -> None:
    assert quote_overrides(typed, verb, is_sweep=False) == read


def test_a_folder_beside_its_key_is_refused() -> None:
    with pytest.raises(UserError, match="r: a word without a key is root=…, and root=x was typed, too"):
        quote_overrides(["r", "root=x"], "runs", is_sweep=False)


def test_runs_of_a_folder_are_those_under_it(ebm: Ebm, stand_in: StandIn) -> None:
    seen = stand_in("runs")
    assert ebm("runs", "r").code == ebm("runs", "root=r").code == 0
    assert seen[0] == seen[1]


def test_verbs_with_places_exist() -> None:
    assert set(PLACES) <= set(verbs())
    for verb, keys in PLACES.items():
        assert set(keys) <= {key.name for key in verb_keys(verb, (), search_path())}
