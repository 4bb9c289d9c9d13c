"""The examples of CONTRIBUTING.md: written to a copy of the package, tested, trained."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import REPO

TEXT = (REPO / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", TEXT, re.DOTALL))
TINY = ("steps=20", "energy.width=8", "batch_size=32", "eval.n_samples=50", "eval.burn_in=100", "log_every=10")
RUNS = [
    ("train", "method=importance", "metrics=[{_target_: ebm_cli.evaluation.groups.virial.Virial}]", *TINY),
    ("train", "energy=ring", "dataset=logistic", "method=pcd", "sampler=crank_nicolson", *TINY[:1], *TINY[2:]),
    ("check", "only=samplers"),
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    for name in ("ebm_cli", "conf", "tests"):
        shutil.copytree(REPO / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "benchmarks", "data"))
    shutil.copy(REPO / "pyproject.toml", root)
    for path, code in FILES.items():
        (root / path).write_text(code)
    return root


def run(tree: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(tree)}
    return subprocess.run(
        [sys.executable, *words], cwd=tree, env=env, capture_output=True, text=True, check=False
    )  # fmt: skip


def test_every_example_has_a_file_a_config_and_a_test() -> None:
    kinds = [path.split("/")[0] for path in FILES]
    assert kinds.count("tests") >= 5
    assert kinds.count("conf") >= 4


@pytest.mark.slow
def test_examples_pass_their_own_tests(tree: Path) -> None:
    ran = run(
        tree, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(path for path in FILES if path.startswith("tests/"))
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "passed" in ran.stdout


@pytest.mark.slow
@pytest.mark.parametrize("words", RUNS, ids=" ".join)
def test_examples_run_from_the_command_line(tree: Path, words: tuple[str, ...]) -> None:
    ran = run(tree, "-m", "ebm_cli", *words)
    assert ran.returncode == 0, ran.stdout + ran.stderr
