"""Commands as they are printed, typed into a shell again."""

import re
import subprocess
from pathlib import Path

import pytest

from ebm_cli.quoting import override
from ebm_cli.reporting.commands import shell_command
from tests.support import FAST, Ebm, StandIn, no_pictures

FOLDERS = (
    "r/lr=0.1",
    "a folder, two",
    "[1]",
    "(x)",
    "it's",
    'a"b',
    "$HOME",
    "größe",
    "~",
    "a\\",
    "&|;<>",
    "#1",
    "12",
)
"""Names that Hydra's grammar, OmegaConf or a shell reads as something else."""


def shell_words(line: str) -> list[str]:
    """The words of a command as a shell splits them, without `ebm`."""
    script = f"ebm() {{ printf '%s\\0' \"$@\"; }}\n{line}"
    ran = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    return ran.stdout.split("\0")[:-1]


def printed_commands(text: str) -> list[str]:
    return re.findall(r"^  \$ (ebm .*)$", text, re.M)


def test_the_next_command_runs_when_it_is_pasted(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    no_pictures(monkeypatch)
    trained = ebm("train", *FAST, "steps=2", override("hydra.run.dir", "r/lr=0.1"))
    assert (tmp_path / "r" / "lr=0.1" / "results.json").is_file()
    commands = printed_commands(trained.out)
    assert commands
    for command in commands:
        ran = ebm(*shell_words(command), "n_samples=20", "burn_in=1", "thin=1")
        assert ran.code == 0, ran.err


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_command_for_any_folder_reaches_that_folder(ebm: Ebm, tmp_path: Path, stand_in: StandIn, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True)
    seen = stand_in("sample")
    ran = ebm(*shell_words(shell_command("sample", {"checkpoint": folder})))
    assert ran.code == 0, ran.err
    assert [cfg.checkpoint for cfg in seen] == [folder]
    assert list((tmp_path / folder / "sample").glob("*/sample.log"))
