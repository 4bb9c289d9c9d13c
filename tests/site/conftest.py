"""A folder with everything that the documentation's commands name: runs, files of rows, a package, options."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_wine

from ebm_cli.cli.main import main
from tests.site.shown import PAGES, python_blocks

CHEAP = ("steps=6", "energy.width=8", "batch_size=32", "log_every=2", "metrics=[density]", "eval.n_samples=40")
CHEAP += ("eval.n_chains=10", "eval.burn_in=4", "eval.n_temperatures=4", "threads=1")
"""A run of a second, of any data and energy."""
MOONS = (
    "outputs/train/…",
    "…",
    "RUN",
    "moons",
    "circles",
    "runs/moons",
    "runs/wines",
    "outputs/multirun/…/0",
    "runs/sweep/0",
    "runs/seeds/2",
    "runs/big",
)
"""Runs by the names that the pages give them; all on points in the plane, until `wines` trains one."""


def write_rows(root: Path, columns: int) -> None:
    """The file `rows.csv`: of the wines (13 columns and the class), or of points in the plane."""
    if columns == 2:
        text = "x0,x1\n" + "".join(f"{i / 7},{i / 9}\n" for i in range(10))
    else:
        text = load_wine(as_frame=True).frame.head(10).to_csv(index=False)
    (root / "rows.csv").write_text(text)


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The current folder of the commands that are shown."""
    root = tmp_path_factory.mktemp("shown")
    wines = load_wine(as_frame=True).frame
    for name, rows in {
        "my": wines,
        "normal": wines.head(130).iloc[:, :-1],
        "anomalies": wines.tail(48).iloc[:, :-1],
    }.items():
        rows.to_csv(root / f"{name}.csv", index=False)
    points = np.random.default_rng(0).normal(size=(4, 2)).astype("float32")
    np.savez(root / "rows.npz", x=points, mask=np.array([True, False]))
    np.save(root / "noisy.npy", points)
    (root / "runs/many/samples").mkdir(parents=True)
    np.savez(root / "runs/many/samples/00000.npz", x=points)
    for page in PAGES:
        for code in python_blocks(page.read_text(encoding="utf-8")):
            if file := re.match(r"# (\S+\.py)\n", code):
                (root / file[1]).parent.mkdir(parents=True, exist_ok=True)
                (root / file[1]).write_text(code)
    option = root / "my_conf" / "energy" / "ring.yaml"
    option.parent.mkdir(parents=True)
    option.write_text("_target_: my_package.energies.Ring\nradius: 1.0\nthickness: 0.1\n")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(root)
        assert main(("train", *CHEAP, "hydra.run.dir=trained")) == 0
    for name in MOONS:
        shutil.copytree(root / "trained", root / name)
    return root


@pytest.fixture(scope="session")
def wines(workspace: Path) -> None:
    """A run of the tutorial's table in the place of the one on points."""
    shutil.rmtree(workspace / "runs" / "wines")
    rows = ("dataset=file", "dataset.path=my.csv", "dataset.drop=[target]", "eval_every=3")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(workspace)
        assert main(("train", *rows, *CHEAP, "hydra.run.dir=runs/wines")) == 0
