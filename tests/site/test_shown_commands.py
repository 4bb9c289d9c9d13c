"""Each command and each Python block of README, tutorials, guides, concepts and reference: composed, and run."""

import re
import sys
from pathlib import Path

import pytest
import torch

from ebm_cli.cli.main import main
from ebm_cli.errors import NotTrustworthy
from ebm_cli.samplers.metric import LEAST_BURN_IN
from tests.site.conftest import CHEAP, write_rows
from tests.site.shown import PAGES, commands, is_expanded, make_commands, python_blocks, shown, words
from tests.support import REPO, StandIn

COMMANDS = sorted(shown())
FEW = {
    "train": CHEAP,
    "evaluate": ("eval.n_samples=40", "eval.n_chains=10", "eval.burn_in=4", "eval.n_temperatures=4"),
    "sample": ("n_samples=40", "n_chains=10", f"burn_in={LEAST_BURN_IN}", "thin=1"),
    "density": ("n_chains=10", "n_temperatures=4"),
    "compare": ("pictures=false",),
    "check": ("only=optimizers",),
    "runs": (),
}
"""Verb → words that make it cheap; a burn-in that a metric can be measured in."""
EXPERIMENT = "experiment="
"""In commands that take minutes; `tests/claims` composes and judges every experiment."""
IN_README = {command for command, pages in shown().items() if "README.md" in pages}
COMPOSED = [
    command if command in IN_README else pytest.param(command, marks=pytest.mark.slow)
    for command in COMMANDS
    if EXPERIMENT not in command
]
"""The commands of README in every test, the others in the slow ones."""
BLOCKS = [(page, code) for page in PAGES for code in python_blocks(page.read_text(encoding="utf-8"))]


def plain(command: str) -> list[str]:
    """The words of a command without a launcher or sweeper of another package."""
    kept = [word for word in words(command) if not re.match(r"hydra[/.](launcher|sweeper)", word)]
    whole = [re.sub(r"=int\(interval\((.*)\)\)$", r"=choice(\1)", word) for word in kept]
    return [re.sub(r"=interval\(", "=choice(", word) for word in whole]


def first_job(command: str) -> list[str]:
    """The words of the first job of a sweep."""
    found = [re.sub(r"=(range\(.*\)|choice\((.*),.*\))$", lambda m: f"={m[2] or 0}", word) for word in plain(command)]
    of_sweep = ("-m", "jobs=", "replicas=")
    return [re.sub(r"=([^\[,]+),.*", r"=\1", word) for word in found if not word.startswith(of_sweep)]


@pytest.fixture
def here(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(workspace)
    monkeypatch.setattr(sys, "path", [str(workspace), *sys.path])
    return workspace


def test_pages_show_commands_of_every_verb() -> None:
    assert {words(command)[0] for command in COMMANDS} == set(FEW)
    assert len(COMMANDS) > 40


def test_readme_is_at_most_6_kb() -> None:
    assert (REPO / "README.md").stat().st_size <= 6000


@pytest.mark.parametrize("name", ["README.md", "README.ko.md"])
def test_readme_has_every_method_in_its_table(name: str) -> None:
    rows = re.findall(r"^\| (`.*?) \|", (REPO / name).read_text(encoding="utf-8"), re.MULTILINE)
    named = [word for row in rows for word in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted(path.stem for path in (REPO / "conf" / "method").glob("*.yaml"))


def test_shown_experiments_exist() -> None:
    named = [re.findall(r"experiment=(\S+)", command) for command in COMMANDS]
    assert [name for names in named for name in names if not (REPO / f"conf/experiment/{name}.yaml").is_file()] == []


def test_shown_commands_quote_what_a_shell_would_expand() -> None:
    assert list(filter(is_expanded, COMMANDS)) == []
    assert is_expanded("ebm compare runs=outputs/*")


@pytest.mark.parametrize("what", [commands, make_commands])
def test_both_readmes_have_the_same_commands(what) -> None:
    english, korean = (what((REPO / name).read_text(encoding="utf-8")) for name in ("README.md", "README.ko.md"))
    assert korean == english
    assert len(english) >= 2


@pytest.mark.parametrize("command", COMPOSED)
def test_shown_command_is_composed(command: str, here: Path, stand_in: StandIn) -> None:
    verb, *rest = first_job(command)
    seen = stand_in(verb)
    assert main((verb, *rest)) == 0
    assert seen


def test_composition_refuses_a_word_that_is_wrong(here: Path, stand_in: StandIn) -> None:
    seen = stand_in("train")
    assert main(("train", "method=ncee")) != 0
    assert main(("train", "method.kk=5")) != 0
    assert not seen


@pytest.mark.slow
@pytest.mark.parametrize("command", [one for one in COMMANDS if EXPERIMENT not in one])
@pytest.mark.usefixtures("wines")
def test_shown_command_runs(command: str, here: Path, tmp_path: Path) -> None:
    verb, *rest = plain(command)
    few = [word for word in FEW[verb] if not ("ring" in command.lower() and "width" in word)]
    if "checkpoint=" in command and verb == "train":
        few = ["steps=8"]
    elif verb == "train":
        own = [f"hydra.run.dir={tmp_path}/run"] if "replicas=" not in command else []
        few += [*own, f"hydra.sweep.dir={tmp_path}/sweep"]
    write_rows(here, 13 if "wines" in command else 2)
    is_possible = "device=cuda" not in command or torch.cuda.is_available()
    # Chains of a model of eight steps have not mixed.
    codes = (0, NotTrustworthy.exit_code) if "strict=true" in command else (0 if is_possible else 1,)
    assert main((verb, *rest, *few)) in codes


@pytest.mark.slow
@pytest.mark.parametrize(("page", "code"), BLOCKS, ids=[f"{page.stem}-{i}" for i, (page, _) in enumerate(BLOCKS)])
def test_shown_python_runs(page: Path, code: str, here: Path) -> None:
    exec(compile(code, str(page), "exec"), {"x": torch.zeros(5, 2), "__name__": "shown"})
