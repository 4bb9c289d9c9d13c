"""The tests' quick Hydra: it composes what Hydra composes."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import REPO, Ebm

COMMANDS = [
    "train method=fce energy.width=4 noise=uniform",
    "train method=fce +trust=[a]",
    "train ~method",
    "sample checkpoint=a sampler=hmc sampler.step_size=0.5",
    "train energy.width=5",
    "train method=fce",
]
"""Choices and values in an order in which each could find what another one left."""

AS_IT_IS = """
import sys
from ebm_cli.cli.main import main
for words in sys.argv[1:]:
    main([*words.split(), "--cfg", "job"])
"""


@pytest.mark.slow
def test_commands_compose_as_in_a_process_of_their_own(ebm: Ebm, tmp_path: Path) -> None:
    command = [sys.executable, "-c", AS_IT_IS, *COMMANDS]
    expected = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(REPO)}, capture_output=True, text=True)
    ran = [ebm(*words.split(), "--cfg", "job") for words in COMMANDS]
    assert "".join(one.out for one in ran) == expected.stdout
    assert "".join(one.err for one in ran) == expected.stderr
    assert [one.code for one in ran] == [0, 0, 1, 0, 0, 0]
