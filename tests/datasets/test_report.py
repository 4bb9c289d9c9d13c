"""The report on a table: each fault is found with its column, number and cure, and sound tables have none."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ebm_cli.datasets import Digits, File, Moons, Synthetic, Table
from ebm_cli.datasets.findings import Finding, Run
from ebm_cli.datasets.io.contents import ColumnWords
from ebm_cli.datasets.report import examine, report
from tests.datasets.support import write
from tests.support import normal, seeded

KEYS = ("dequantise", "noise_std", "drop", "standardize", "copies")
SCORES = Run("sm", True, frozenset(f"dataset.{key}" for key in KEYS), can_whiten=True, n_weights=1000)
CLASSIFIER = SCORES._replace(method="nce", matches_scores=False, can_whiten=False)
N = 1000
X = normal(N, 3).float()


def found(x: Tensor, run: Run = SCORES, names: tuple[str, ...] | None = None) -> list[Finding]:
    """The findings on these training rows, standardised by their own moments."""
    std = x.double().flatten(1).std(0).float()
    return list(examine(x, torch.where(std > 0, std, torch.ones_like(std)), run, ColumnWords(names)))


def with_column(values: Tensor | np.ndarray) -> Tensor:
    """Normal rows whose column 1 has these values."""
    x = X.clone()
    x[:, 1] = torch.as_tensor(values).float()
    return x


def uniform(seed: int = 3) -> Tensor:
    return torch.rand(N, generator=torch.Generator().manual_seed(seed))


def test_sound_tables_have_no_findings() -> None:
    sound = [
        X,
        torch.exp(X),
        with_column(uniform()),
        with_column(-uniform().log()),
        with_column(torch.where(uniform() < 0.9, 5.0, -5.0) + X[:, 0] * 0.3),
        with_column((X[:, 1] * 1000).round() / 1000),
        with_column(X[:, 0] + 0.1 * X[:, 1]),
        X * torch.tensor([1e-19, 1.0, 1e10]),
        X + torch.tensor([1e4, 0.0, -1e4]),
    ]
    assert [found(x) for x in sound] == [[]] * len(sound)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((2 * X[:, 1]).round(), "different whole numbers"),
        (uniform() < 0.3, "only two values"),
        ((X[:, 1] * 10).round() / 10, "rounded numbers (steps of 0.1)"),
        (torch.where(uniform() < 0.6, 0.0, -uniform(4).log()), "the value 0 in 6"),
    ],
    ids=["whole", "two", "rounded", "atom"],
)
def test_ties_are_found_with_their_kind(values: Tensor, words: str) -> None:
    (finding,) = found(with_column(values))
    assert (finding.kind, finding.columns) == ("ties", (1,))
    assert words in finding.fact
    assert "the objective of sm has no lower bound" in finding.harm


def test_cure_of_ties_depends_on_the_objective() -> None:
    """Uniform noise makes the density jump, which only score matching minds."""
    whole = with_column((2 * X[:, 1]).round())
    assert found(whole)[0].cure == "set dataset.dequantise=gaussian or dataset.noise_std=0.5"
    assert found(whole, CLASSIFIER)[0].cure == "set dataset.dequantise=true or dataset.noise_std=0.5"
    assert found(whole, Run("sm", True))[0].cure == "set dataset.noise_std=0.5"
    assert "as wide as method.sigma" in found(whole, Run("dsm", keys=frozenset({"method.sigma"})))[0].harm


def test_columns_are_named_as_in_the_file() -> None:
    (finding,) = found(with_column(uniform() < 0.3), names=("age", "sex", "pay"))
    assert finding.fact.startswith("column sex has only two values")


@pytest.mark.parametrize(
    ("name", "head", "keys", "key"),
    [
        ("x.npy", "", {"drop": 0}, "'dataset.drop=[0,2]'"),
        ("x.csv", "", {"drop": 0}, "'dataset.drop=[0,2]'"),
        ("x.csv", "id,,,c,d\n", {"drop": "id"}, "'dataset.drop=[id,2]'"),
        ("x.csv", "", {"columns": [1, 2, 3, 4]}, "'dataset.columns=[1,3,4]'"),
    ],
)
def test_columns_are_counted_in_the_file(tmp_path: Path, name: str, head: str, keys: dict[str, Any], key: str) -> None:
    x = np.concatenate([X[:200].numpy(), X[:200, :2].numpy() ** 3], axis=1)
    x[:, 2] = 3.0
    text = head + "\n".join(",".join(f"{v:.7g}" for v in row) for row in x)
    data = File(write(tmp_path, name, x if name == "x.npy" else text), **keys)
    (finding,) = (one for one in report(data, CLASSIFIER) if one.kind == "constant")
    assert str(finding) == f"column 2 (counted from 0) is constant (3); set {key}"


def test_constant_column_is_dropped_by_its_name() -> None:
    (finding,) = found(with_column(torch.full((N,), 3.0)), CLASSIFIER, names=("age", "sex", "pay"))
    assert str(finding) == "column sex is constant (3); set dataset.drop=sex"


def test_nearly_constant_column_is_no_column_of_two_values() -> None:
    (finding,) = found(with_column(torch.arange(N) % 500 == 3))
    assert finding.fact == "column 1 (counted from 0) is nearly constant (0 in 99.8 % of the rows)"
    assert finding.harm == "the objective of sm has no lower bound on a value that repeats"


def test_many_findings_of_one_kind_are_one_line() -> None:
    x = X.repeat(1, 3) + 0.5 * normal(N, 9, seed=5).float()
    x[7, :6] = 1e6
    findings = found(x)
    assert [finding.columns for finding in findings] == [(0,), (1,), (2, 3, 4, 5)]
    assert findings[2].fact == "the same (outliers) in columns 2, 3, 4 and 5 (counted from 0)"


@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        (X[:, 0], "collinear", "column 1 (counted from 0) is a copy of column 0 (counted from 0)"),
        (-3 * X[:, 0] + 5, "collinear", "column 1 (counted from 0) is a copy of column 0 (counted from 0)"),
        (
            X[:, 0] + 1e-3 * X[:, 1],
            "collinear",
            "column 1 (counted from 0) is nearly a copy of column 0 (counted from 0) (what they leave of it is 0.001",
        ),
    ],
    ids=["equal", "scaled", "near"],
)
def test_copied_columns_are_collinear(values: Tensor, kind: str, words: str) -> None:
    (finding,) = found(with_column(values))
    assert finding.kind == kind
    assert finding.fact.startswith(words)
    assert finding.cure == "set method.whiten=true or set dataset.drop=1"


def test_sum_of_columns_is_collinear() -> None:
    x = X.clone()
    x[:, 2] = x[:, 0] + x[:, 1]
    (finding,) = found(x, CLASSIFIER)
    assert finding.fact == "column 2 (counted from 0) is a linear function of columns 0 and 1 (counted from 0)"
    assert finding.cure == "set dataset.drop=2"


def test_outliers_in_one_row_make_no_columns_collinear() -> None:
    x = X.clone()
    x[7] = 1e6
    assert [finding.kind for finding in found(x)] == ["outliers"] * 3


def test_outlier_that_sets_the_scale_is_named() -> None:
    x = X.clone()
    x[:, 0] = x[:, 0].clamp(-4, 4)
    x[17, 0] = 1e6
    (finding,) = found(x)
    assert finding.fact.startswith("column 0 (counted from 0): one value is 1e+06, the others within ")
    assert finding.cure == "leave out the row, or set dataset.standardize=robust, which does"


def test_rows_that_robust_leaves_out_are_counted(tmp_path: Path) -> None:
    x = X.numpy().copy()
    x[::100, 0] = 1e6
    (finding,) = report(File(write(tmp_path, "x.npy", x), standardize="robust"), CLASSIFIER)
    assert (
        finding.fact
        == "10 rows lie more than 100 robust standard deviations from the median of column 0 (counted from 0)"
    )


def test_heavy_tail_is_no_outlier() -> None:
    values = torch.tan(np.pi * (uniform() - 0.5))
    (finding,) = found(with_column(values))
    assert (finding.kind, finding.columns) == ("heavy_tail", (1,))
    # Only positive numbers have a logarithm.
    assert "asinh" in finding.cure
    (finding,) = found(with_column(values.abs() + 0.01))
    assert "its logarithm" in finding.cure


@pytest.mark.parametrize(
    ("others", "code"),
    [(X[:, 1], -999.0), (80 + 10 * X[:, 1], 0.0), (-uniform(4).log(), -1.0), (X[:, 1].abs() * 2000, 9999.0 * 10 + 9)],
    ids=["-999", "0 beside 80", "-1 beside positive", "99999"],
)
def test_code_of_a_missing_value_is_found(others: Tensor, code: float) -> None:
    (finding,) = found(with_column(torch.where(uniform() < 0.05, code, others)))
    assert (finding.kind, finding.columns, finding.number) == ("missing", (1,), code)


@pytest.mark.parametrize(
    "values",
    [
        (uniform() * 12).floor() - 1,
        (X[:, 1] * 3).round().clamp(-1, 9),
        (uniform() * 100).floor(),
        torch.poisson(torch.full((len(X),), 4.0), generator=seeded(8)),
    ],
    ids=["from -1", "clamped", "from 0", "counts around 4"],
)
def test_whole_numbers_have_no_missing_code(values: Tensor) -> None:
    assert [finding.kind for finding in found(with_column(values))] == ["ties"]


def test_few_rows_for_the_network_are_said() -> None:
    (finding,) = found(X[:20], CLASSIFIER._replace(n_weights=17_000))
    assert finding.kind == "few_rows"
    assert "20 training rows of 3 numbers are few for a network of 17,000 weights" in finding.fact


def test_scores_need_ten_rows_for_each_column() -> None:
    wine = Table("wine", dequantise="gaussian")
    assert [finding.kind for finding in report(wine, SCORES)] == ["few_rows"]
    assert report(wine, CLASSIFIER) == ()


def test_images_have_one_line_for_all_pixels() -> None:
    raw = report(Digits(dequantise=False), SCORES)
    assert [finding.kind for finding in raw] == ["constant", "ties"]
    assert raw[0].fact == "4 pixels are constant"
    assert report(Digits(), SCORES) == ()


def test_known_density_is_not_examined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ebm_cli.datasets.report.examine", None)
    assert report(Synthetic(Moons(), n_train=50), SCORES) == ()


def test_noise_cures_the_ties_of_iris() -> None:
    assert [finding.kind for finding in report(Table("iris"), SCORES)] == ["ties"]
    assert report(Table("iris", dequantise="gaussian"), SCORES) == ()
    assert report(Table("iris", noise_std=0.05), SCORES) == ()


def test_column_that_numbers_the_rows_is_named(tmp_path: Path) -> None:
    """It is said unless the user has said which columns are data; the control has every number twice."""
    content = "sample,a,b\n" + "".join(f"{i + 100},{a},{b}\n" for i, (a, b, _) in enumerate(X.tolist()))
    path = write(tmp_path, "x.csv", content)
    (finding,) = report(File(path), CLASSIFIER)
    assert str(finding) == (
        "column sample rises by 1 from row to row (100 to 1099), as row numbers and identifiers do; if it is one, "
        "set dataset.drop=sample"
    )
    assert not finding.bears_on_results
    head, *lines = content.splitlines()
    shuffled = "\n".join([head, *lines[500:], *lines[:500], ""])
    (finding,) = report(File(write(tmp_path, "y.csv", shuffled)), CLASSIFIER)
    assert str(finding) == (
        "column sample holds a different whole number in every row (100 to 1099), as identifiers do; if it is one, "
        "set dataset.drop=sample"
    )
    twice = "\n".join([head, *(f"{100 + i * 7 % 500}{line[line.index(',') :]}" for i, line in enumerate(lines)), ""])
    for data in (File(path, drop=[]), File(path, columns=["sample", "a"]), File(write(tmp_path, "z.csv", twice))):
        assert "numbered" not in [one.kind for one in report(data, CLASSIFIER)]


def test_decimals_that_rise_may_be_time_stamps(tmp_path: Path) -> None:
    """A single column, which cannot be left out, has no such finding."""
    x = X.numpy().copy()
    x[:, 1] = np.arange(N) + 0.5 * uniform().numpy()
    (finding,) = report(File(write(tmp_path, "x.npy", x)), CLASSIFIER)
    assert finding.fact.startswith("column 1 (counted from 0) rises from row to row (0.")
    assert finding.fact.endswith("), as time stamps do, unless the rows are sorted by it")
    assert finding.cure == "if it is one, set dataset.drop=1"
    assert report(File(write(tmp_path, "y.npy", x[:, 1])), CLASSIFIER) == ()


def test_far_value_of_a_held_out_row_is_named(tmp_path: Path) -> None:
    held_out = File(write(tmp_path, "x.npy", X.numpy()), standardize=False).held_out(1)[0]
    row = int((X - held_out).abs().sum(1).argmin())
    x = X.clone()
    x[row, 1] = 1e6
    (finding,) = report(File(write(tmp_path, "y.npy", x.numpy())), SCORES)
    assert (finding.kind, finding.columns, finding.number) == ("outliers", (1,), 1e6)
    assert str(finding).startswith("column 1 (counted from 0): one held-out value is 1e+06, the training rows within 3")
    assert finding.cure == "leave out the row, or set dataset.standardize=robust, which does"


def test_control_ordinary_held_out_rows_are_not_named(tmp_path: Path) -> None:
    assert report(File(write(tmp_path, "x.npy", X.numpy())), SCORES) == ()


@pytest.mark.parametrize(
    ("shape", "words"),
    [((40, 8, 9), "images of 8 x 9 pixels"), ((40, 3, 8, 9), "images of 8 x 9 pixels and 3 channels")],
)
def test_images_of_a_file_are_advised_convolutions(tmp_path: Path, shape: tuple[int, ...], words: str) -> None:
    pixels = np.random.default_rng(0).uniform(size=shape).astype(np.float32)
    (finding,) = report(File(write(tmp_path, "x.npy", pixels)), CLASSIFIER._replace(n_weights=0))
    assert str(finding) == (
        f"the rows are {words}: this energy does not know which pixels are neighbours; set energy=conv, which does"
    )
    assert report(File(write(tmp_path, "x.npy", pixels)), CLASSIFIER._replace(n_weights=0, is_convolutional=True)) == ()


def test_tables_and_rows_of_few_pixels_need_no_convolutions(tmp_path: Path) -> None:
    assert report(File(write(tmp_path, "x.npy", X.numpy())), CLASSIFIER) == ()
    few = np.random.default_rng(0).uniform(size=(N, 2, 4)).astype(np.float32)
    assert report(File(write(tmp_path, "x.npy", few)), CLASSIFIER) == ()
