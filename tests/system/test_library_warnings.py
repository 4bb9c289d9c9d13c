"""Warnings of libraries: in the log, not on the screen."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import logging, warnings
from ebm_cli.system.library_warnings import flush_warnings, log_warnings
log_warnings()
warnings.warn("before the log", RuntimeWarning)
torch = logging.getLogger("torch.inductor")
torch.addHandler(logging.StreamHandler())
torch.propagate = False
logging.root.addHandler(logging.FileHandler("train.log"))
flush_warnings()
warnings.warn("after", UserWarning)
torch.warning("of torch")
logging.getLogger("matplotlib.font_manager").warning("no font")
"""


def run(tmp_path: Path, *flags: str, script: str = SCRIPT) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, *flags, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )


def test_warnings_are_in_the_log_and_not_on_the_screen(tmp_path: Path) -> None:
    ran = run(tmp_path)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    text = (tmp_path / "train.log").read_text()
    for expected in ("RuntimeWarning: before the log (<string>:5)", "UserWarning: after", "of torch", "no font"):
        assert text.count(expected) == 1


@pytest.mark.parametrize("logger", ["matplotlib.font_manager", "torch"])
def test_without_a_log_nothing_is_printed(tmp_path: Path, logger: str) -> None:
    script = SCRIPT.partition("torch =")[0] + f"logging.getLogger({logger!r}).warning('x')\n"
    assert run(tmp_path, script=script).stderr == ""


def test_statistics_of_torch_are_off_the_screen() -> None:
    script = SCRIPT.partition("torch =")[0] + "logging.basicConfig(level=logging.INFO)\n"
    script += "logging.getLogger('torch._subclasses.fake_tensor').info('cache stats')\nlogging.info('ours')\n"
    assert run(Path.cwd(), script=script).stderr == "INFO:root:ours\n"


def test_warnings_are_shown_on_request(tmp_path: Path) -> None:
    assert "RuntimeWarning: before the log" in run(tmp_path, "-W", "default").stderr
    assert run(tmp_path, "-W", "error").returncode == 1
