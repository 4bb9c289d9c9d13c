"""`ebm density` from end to end: scores of the rows of a file, and refusals."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ebm_cli.cli.main import main
from ebm_cli.runs import checkpoint as checkpoints
from tests.support import TINY, Ebm, last, no_pictures

MEAN, COV = [3.0, -20.0, 1.0], np.diag([4.0, 0.5, 1.0])
QUICK = ("n_held_out=50", "n_temperatures=20", "n_chains=50")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on named columns of a file, whose energy is set so that its density is N(MEAN, COV) in data units."""
    folder = tmp_path_factory.mktemp("made")
    rows = np.random.default_rng(0).multivariate_normal(MEAN, COV, size=300)
    np.savetxt(folder / "rows.csv", rows, delimiter=",", header="a,b,c", comments="")
    words = [word for word in TINY if not word.startswith("energy.")]
    words += ["dataset=file", f"dataset.path={folder / 'rows.csv'}", "energy=quadratic", "method=sm", "steps=1"]
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        no_pictures(patched)
        assert main(["train", *words, "metrics=[score]", "hydra.run.dir=run"]) == 0
    state = last(folder / "run")
    mean, scale = (state["dataset"]["standardizer"][name].double() for name in ("mean", "scale"))
    precision = torch.linalg.inv(torch.from_numpy(COV) / torch.outer(scale, scale)).float()
    state["energy"] = {"mean": ((torch.tensor(MEAN) - mean) / scale).float(), "raw_precision": precision}
    state["ema"] = {"count": 1, "mean": {f"energy.{name}": value for name, value in state["energy"].items()}}
    checkpoints.save(folder / "gaussian.pt", state)
    return folder / "gaussian.pt"


def scored(folder: str) -> list[dict[str, Any]]:
    with Path(folder, "density.csv").open() as file:
        return list(csv.DictReader(file))


def test_log_density_is_exact_and_strange_rows_are_named(ebm: Ebm, made: Path) -> None:
    """In data units, with columns in another order and one too many; the strange row has the smallest p-value."""
    x = np.array([MEAN, [5.0, -20.5, 0.0], [3.0, -26.0, 1.0]])
    table = np.column_stack([x[:, 2], np.arange(3), x[:, 0], x[:, 1]])
    np.savetxt("other.csv", table, delimiter=",", header="c,id,a,b", comments="")
    ran = ebm("density", f"checkpoint={made}", "data=other.csv", *QUICK, "hydra.run.dir=out")
    assert (ran.code, ran.err) == (0, "")
    rows = scored("out")
    exact = torch.distributions.MultivariateNormal(torch.tensor(MEAN).double(), torch.from_numpy(COV))
    expected = exact.log_prob(torch.from_numpy(x))
    assert [float(row["log_p"]) for row in rows] == pytest.approx(expected.tolist(), abs=1e-3)
    assert [float(row["log_p_se"]) for row in rows] == [0.0] * 3
    assert (rows[0]["p_value"], float(rows[2]["p_value"])) == ("1", pytest.approx(1 / 51))
    assert "column id left out" in ran.out
    lines = [line.split() for line in ran.out.splitlines()]
    strangest = next(lines[i + 2] for i, line in enumerate(lines) if line[:1] == ["row"])
    assert strangest[0] == "2"
    assert strangest[-3:] == ["3", "-26", "1"]
    results = json.loads(Path("out/results.json").read_text())
    assert (results["density/rows"], results["density/held_out"], results["eval/log_z_method"]) == (3, 50, "exact")


def test_rows_with_missing_numbers_are_named_and_left_out(ebm: Ebm, made: Path) -> None:
    Path("holes.csv").write_text("a,b,c\n3,-20,1\n3,,1\n4,-20,2\n")
    ran = ebm("density", f"checkpoint={made}", "data=holes.csv", *QUICK, "hydra.run.dir=out")
    assert (ran.code, ran.err) == (0, "")
    assert "1 row has a missing number and no score: row 1." in " ".join(ran.out.replace("│", " ").split())
    assert [row["energy"] == "" for row in scored("out")] == [False, True, False]


def test_mapped_file_is_scored_in_pieces(ebm: Ebm, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same scores, whatever the pieces."""
    np.save("rows.npy", np.random.default_rng(1).multivariate_normal(MEAN, COV, size=25))
    monkeypatch.setattr("ebm_cli.runs.given_rows.BLOCK", 7)
    assert ebm("density", f"checkpoint={made}", "data=rows.npy", *QUICK, "hydra.run.dir=pieces").code == 0
    monkeypatch.setattr("ebm_cli.runs.given_rows.BLOCK", 1000)
    assert ebm("density", f"checkpoint={made}", "data=rows.npy", *QUICK, "hydra.run.dir=whole").code == 0
    with np.load("pieces/density.npz") as pieces, np.load("whole/density.npz") as whole:
        assert len(pieces["energy"]) == 25
        for name in whole:
            assert np.allclose(pieces[name], whole[name], rtol=1e-6)


def test_without_the_data_of_the_run_there_is_no_p_value(ebm: Ebm, made: Path) -> None:
    """log Z of a Gaussian is known without data; that of a network is not."""
    state = checkpoints.read(made)
    state["config"]["dataset"]["path"] = str(Path("gone.csv").absolute())
    checkpoints.save(Path("lost.pt"), state)
    np.save("rows.npy", np.array([MEAN]))
    ran = ebm("density", "checkpoint=lost.pt", "data=rows.npy", *QUICK, "hydra.run.dir=out")
    assert (ran.code, ran.err) == (0, "")
    assert "No p-values: they need the held-out rows of the run" in " ".join(ran.out.replace("│", " ").split())
    [row] = scored("out")
    assert set(row) == {"row", "energy", "log_p", "log_p_se"}
    assert float(row["log_p"]) == pytest.approx(-0.5 * math.log((2 * math.pi) ** 3 * np.linalg.det(COV)), abs=1e-3)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["data=none.csv"], "data=none.csv: is not a file"),
        (["data=wide.npy"], "data=wide.npy: has 2 columns, the run was trained on 3 columns (a, b, c)"),
        (["data=names.csv"], "data=names.csv: has no column c"),
        ([], "data is required, type data=…: file of rows, as dataset=file reads it; columns are matched by name"),
        (["data=wide.npy", "n_held_out=0"], "n_held_out must be >= 1, got 0"),
    ],
)
def test_wrong_words_are_refused_in_one_line(ebm: Ebm, made: Path, words: list[str], line: str) -> None:
    np.save("wide.npy", np.zeros((4, 2)))
    Path("names.csv").write_text("a,b,d\n1,2,3\n4,5,6\n")
    ran = ebm("density", f"checkpoint={made}", *words, "hydra.run.dir=out")
    assert (ran.code, len(ran.err.splitlines())) == (1, 1)
    assert line in ran.err
    assert not Path("out").exists()
