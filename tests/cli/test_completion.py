"""Completion of verbs, groups, options, keys and flags."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ebm_cli.cli.completion import COMPLETED_FLAGS, candidates
from ebm_cli.cli.flags import FLAGS
from tests.support import REPO, Ebm


@pytest.mark.parametrize(
    ("line", "some"),
    [
        ("ebm ", {"train", "sample", "runs", "--help"}),
        ("ebm tr", {"train"}),
        ("ebm train ", {"method=", "dataset=", "steps=", "sampler.step_size=", "eval.sampler="}),
        ("ebm train met", {"method="}),
        ("ebm train method=n", {"method=nce"}),
        ("ebm train -m method=nce,c", {"method=nce,cd"}),
        ("ebm train sampler=langevin sampler.n", {"sampler.noise_scale="}),
        ("ebm train eval.sampler=h", {"eval.sampler=hmc"}),
        ("ebm train --con", {"--config-dir"}),
        ("ebm sample checkp", {"checkpoint="}),
    ],
)
def test_candidates_complete_the_last_word(line: str, some: set[str]) -> None:
    found = candidates(line)
    assert some <= set(found)
    assert all(word.startswith("" if line.endswith(" ") else line.split()[-1]) for word in found)


def test_candidates_are_empty_for_unknown_words() -> None:
    assert candidates("ebm fly ") == []
    assert candidates("ebm train nothing=x") == []


def test_completed_flags_exist() -> None:
    assert set(COMPLETED_FLAGS) <= set(FLAGS)


def test_installed_function_completes_in_bash(tmp_path: Path) -> None:
    """In a real bash: the function is called as bash calls it, at `ebm train method=nc`."""
    shim = tmp_path / "ebm"
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ebm_cli "$@"\n')
    shim.chmod(0o755)
    script = (
        'eval "$(ebm -sc install=bash)"; COMP_LINE="ebm train method=nc"; COMP_POINT=${#COMP_LINE}; '
        'compopt() { :; }; _ebm_complete; echo "${COMPREPLY[@]}"; eval "$(ebm -sc uninstall=bash)"; complete -p ebm'
    )
    env = {**os.environ, "PYTHONPATH": str(REPO), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    ran = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=env, check=False)
    assert ran.stdout.split() == ["nce"]
    assert "no completion specification" in ran.stderr


def test_completion_refuses_another_shell(ebm: Ebm) -> None:
    assert ebm("-sc", "install=fish").code == 2
