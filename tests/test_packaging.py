"""The installed package: the wheel contains the configs, and works from any folder."""

import os
import re
import site
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from email import message_from_bytes
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from trove_classifiers import classifiers

import ebm_cli
from ebm_cli.config.groups import conf_dir
from tests.support import REPO

PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())
PINS = dict(line.split("==") for line in (REPO / "constraints.txt").read_text().split("\n") if "==" in line)


def run_command(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(words, capture_output=True, text=True, cwd=cwd, env=env, check=False)


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked."""
    out = tmp_path_factory.mktemp("sdist")
    ran = run_command(
        sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", str(out), cwd=REPO
    )
    assert ran.returncode == 0, ran.stderr
    [archive] = out.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        # Python 3.11.4 and later take a filter, and 3.12 warns without one.
        tar.extractall(out, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return out / archive.name.removesuffix(".tar.gz")


@pytest.fixture(scope="session")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution."""
    out = tmp_path_factory.mktemp("wheel")
    build = ("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(out))
    ran = run_command(sys.executable, *build, str(sources))
    assert ran.returncode == 0, ran.stderr
    return next(out.glob("*.whl"))


def files_under(root: Path, *folders: str) -> set[str]:
    found = [path for folder in folders for path in (root / folder).rglob("*")]
    return {path.relative_to(root).as_posix() for path in found if path.is_file() and "__pycache__" not in path.parts}


def test_source_distribution_holds_code_tests_and_pages(sources: Path) -> None:
    folders = ("ebm_cli", "conf", "hydra_plugins", "tests", "docs")
    assert files_under(sources, *folders) == files_under(REPO, *folders)
    in_root = {path.name for pattern in ("*.md", "*.cff", "*.toml", "*.txt", "Makefile") for path in REPO.glob(pattern)}
    assert in_root <= {path.name for path in sources.iterdir()}


def test_wheel_states_version_keywords_and_classifiers(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("dist-info/METADATA")]
        stated = message_from_bytes(archive.read(name))
    project = PROJECT["project"]
    assert stated["Version"] == ebm_cli.__version__
    assert stated["Keywords"] == ",".join(sorted(project["keywords"]))
    assert set(stated.get_all("Classifier", [])) == set(project["classifiers"]) <= classifiers
    tested = {f"3.{minor}" for minor in range(20) if f"3.{minor}" in SpecifierSet(project["requires-python"])}
    named = {line.rpartition(" ")[2] for line in project["classifiers"] if re.search(r"Python :: 3\.\d+$", line)}
    assert named == tested


def test_citation_states_name_version_and_license() -> None:
    citation = yaml.safe_load((REPO / "CITATION.cff").read_text(encoding="utf-8"))
    project = PROJECT["project"]
    assert citation["version"] == ebm_cli.__version__
    assert citation["license"] == project["license"]
    assert citation["authors"] == project["authors"]
    assert f"Copyright (c) 2026 {citation['authors'][0]['name']}" in (REPO / "LICENSE").read_text(encoding="utf-8")
    assert {"cff-version", "message", "title"} <= citation.keys()


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of an environment with the wheel and the other packages of this environment."""
    root = tmp_path_factory.mktemp("environment")
    venv.create(root, with_pip=False, symlinks=True)
    interpreter = root / "bin" / "python"
    where = sysconfig.get_path("purelib", vars={"base": str(root), "platbase": str(root)})
    shared = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    Path(where, "shared.pth").write_text("\n".join(shared or site.getsitepackages()) + "\n")
    words = ("install", "--quiet", "--no-deps", "--no-index", "--ignore-installed", str(wheel))
    ran = run_command(sys.executable, "-m", "pip", "--python", str(interpreter), *words)
    assert ran.returncode == 0, ran.stderr
    return root / "bin"


def test_wheel_holds_every_config_and_no_test(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    configs = {f"ebm_cli/conf/{path.relative_to(REPO / 'conf').as_posix()}" for path in (REPO / "conf").rglob("*.yaml")}
    assert configs <= names
    native = {f"ebm_cli/acceleration/{name}" for name in ("chains.cpp", "values.cpp", "vectors.h")}
    assert "hydra_plugins/ebm_sweeps/processes.py" in names
    assert native | {"ebm_cli/py.typed"} | {f"ebm_cli/comparison/page.{kind}" for kind in ("html", "css")} <= names
    assert not any(name.startswith(("conf/", "tests/", "outputs/", "docs/")) for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_checkout_reads_its_configs_in_place() -> None:
    assert not (REPO / "ebm_cli" / "conf").exists()
    assert conf_dir() == REPO / "conf"


def test_installed_command_reads_its_own_configs(installed: Path, tmp_path: Path) -> None:
    code = "import ebm_cli.config.groups as c; print(c.conf_dir())"
    ran = run_command(str(installed / "python"), "-c", code, cwd=tmp_path)
    assert Path(ran.stdout.strip()).parent.name == "ebm_cli"
    assert Path(ran.stdout.strip()).is_relative_to(installed.parent)


def test_installed_command_trains_from_any_folder(installed: Path, tmp_path: Path) -> None:
    words = ("train", "steps=20", "energy.width=8", "metrics=[density]", "eval.n_samples=200", "hydra.run.dir=run")
    ran = run_command(str(installed / "ebm"), *words, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    for name in ("config.yaml", "results.json", "status.json", "metrics.jsonl", "checkpoints/last.pt"):
        assert (tmp_path / "run" / name).is_file(), name
    assert "_target_: ebm_cli.methods.NCE" in (tmp_path / "run" / "config.yaml").read_text()


def test_python_m_runs_the_command(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "ebm_cli", "--version"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPO)},
        check=True,
    )
    assert ran.stdout.startswith(f"ebm {ebm_cli.__version__}\n")


def requirements() -> list[str]:
    """The packages that the package, its tests and its build need."""
    project = PROJECT["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["dev"], *PROJECT["build-system"]["requires"]]
    return sorted({re.split(r"[<>=~!\[ ]", line)[0] for line in lines})


@pytest.mark.parametrize("name", requirements())
def test_tested_version_is_the_pinned_one(name: str) -> None:
    pins = {key.lower(): value for key, value in PINS.items()}
    assert version(name).partition("+")[0] == pins[name.lower()]


def test_pins_name_no_local_build() -> None:
    assert PINS["torch"] == "2.13.0"
    assert not any("+" in pin for pin in PINS.values())
