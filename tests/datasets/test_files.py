"""One's own rows: every kind of file gives the same numbers, and what is no number is named by its place."""

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ebm_cli.datasets import Batches, Dataset, File
from ebm_cli.datasets.finite import CHUNK_NUMBERS, Mapped
from ebm_cli.datasets.io import arrays
from tests.support import TINY, Ebm, at_step, differences, no_pictures, seeded, trained

ROWS = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)


def rows_of(x: Tensor) -> set[tuple[float, ...]]:
    return {tuple(row) for row in x.tolist()}


def epoch(stream: Batches, n_batches: int) -> Tensor:
    return torch.cat([stream.next() for _ in range(n_batches)])


def text(delimiter: str, header: str = "", end: str = "\n") -> str:
    return header + end.join(delimiter.join(repr(float(v)) for v in row) for row in ROWS)


def write(folder: Path, name: str, content: object) -> str:
    path = folder / name
    if path.suffix == ".pt" and not isinstance(content, bytes):
        torch.save(content, path)
    elif isinstance(content, dict):
        np.savez(path, **content)
    elif isinstance(content, np.ndarray):
        np.save(path, content, allow_pickle=True)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(str(content))
    return str(path)


# --- every kind of file -----------------------------------------------------------------------------------------------

FILES = [
    ("x.npy", ROWS),
    ("x.npy", ROWS.astype(np.float64)),
    ("x.npy", ROWS.astype(">f4")),
    ("x.npy", np.asfortranarray(ROWS)),
    ("x.npz", {"x": ROWS}),
    ("x.csv", text(",")),
    ("x.csv", text(",", end="\r\n")),
    ("x.csv", "\ufeff" + text(",")),
    ("x.csv", text(",", "width, height, depth\n\n")),
    ("x.csv", text(",", '\n"width\n(cm)","height, too",depth\n')),
    ("x.csv", text('","').replace("\n", '"\n"').join('""')),
    ("x.TSV", text("\t", "width\theight\tdepth\n")),
    ("x.pt", torch.from_numpy(ROWS)),
    ("x.pt", torch.from_numpy(ROWS).double().requires_grad_()),
]


@pytest.mark.parametrize(("name", "content"), FILES)
def test_a_file_is_split_into_training_validation_and_held_out_rows(name: str, content: object, tmp_path: Path):
    data: Dataset = File(write(tmp_path, name, content), standardize=False)
    parts = [rows_of(x) for x in (data.reference, data.validation(1000), data.held_out(1000))]
    assert data.shape == (3,)
    assert data.density is None
    assert data.labelled("train", 10) is None
    assert [len(part) for part in parts] == [35, 5, 10]
    assert set().union(*parts) == rows_of(torch.from_numpy(ROWS))
    assert rows_of(epoch(data.batches(7, seeded()), 5)) == parts[0]


def test_whole_numbers_and_halves_are_read(tmp_path: Path):
    for content in (np.arange(12).reshape(6, 2), np.arange(12, dtype=np.uint8).reshape(6, 2) > 5):
        assert File(write(tmp_path, "x.npy", content)).shape == (2,)
    for dtype in (torch.bfloat16, torch.float16, torch.int64, torch.bool):
        assert File(write(tmp_path, "x.pt", torch.arange(12).view(6, 2).to(dtype))).shape == (2,)


def test_a_constant_column_is_no_fault_even_if_it_was_computed_with_rounding(tmp_path: Path):
    rows = np.stack([np.full(50, 1e9), np.linspace(0.0, 1.0, 50), np.full(50, 0.1)], axis=1)
    rows[::2, 2] = np.nextafter(0.1, 1.0)
    assert File(write(tmp_path, "x.npy", rows)).standardizer.scale[[0, 2]].tolist() == [1.0, 1.0]


def test_a_list_of_numbers_is_one_column(tmp_path: Path):
    assert File(write(tmp_path, "x.npy", ROWS[:, 0])).shape == (1,)


def test_a_file_that_has_changed_is_read_again(tmp_path: Path):
    path = write(tmp_path, "x.npy", ROWS)
    assert File(path).shape == (3,)
    write(tmp_path, "x.npy", ROWS[:, :2])
    assert File(path).shape == (2,)


# --- split, units, noise ----------------------------------------------------------------------------------------------


def test_a_files_standardizer_is_fitted_on_training_rows_only(tmp_path: Path):
    data = File(write(tmp_path, "x.npy", 5.0 + 3.0 * ROWS))
    torch.testing.assert_close(data.reference.mean(0), torch.zeros(3), atol=1e-5, rtol=0.0)
    torch.testing.assert_close(data.reference.std(0), torch.ones(3))
    assert data.standardizer(data.held_out(10)).mean(0).abs().max() > 1e-3


def test_the_standardizer_of_many_pieces_is_that_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ebm_cli.datasets.finite.CHUNK_NUMBERS", 3 * 8)
    rows = np.array([1.0, 1e-3, 1e4]) * ROWS.astype(np.float64) + np.array([0.0, 50.0, -1e5])
    data = File(write(tmp_path, "x.npy", rows))
    train = torch.from_numpy(rows.astype(np.float32))[data._parts["train"]].double()
    torch.testing.assert_close(data.standardizer.mean.double(), train.mean(0), rtol=1e-6, atol=0.0)
    torch.testing.assert_close(data.standardizer.scale.double(), train.std(0), rtol=1e-6, atol=0.0)


def test_a_files_seed_n_train_and_noise(tmp_path: Path):
    path = write(tmp_path, "x.npy", ROWS)
    assert torch.equal(File(path).held_out(5), File(path).held_out(10)[:5])
    assert not torch.equal(File(path).held_out(10), File(path, seed=1).held_out(10))
    assert File(path, n_train=7).reference.shape == (7, 3)
    noisy = File(path, noise_std=0.1, standardize=False)
    for fixed in (noisy.held_out, noisy.validation):
        assert torch.equal(fixed(10), fixed(10))
        assert torch.equal(fixed(3), fixed(10)[:3])
        assert not rows_of(fixed(10)) & rows_of(torch.from_numpy(ROWS))


def test_a_data_set_in_float64_holds_the_same_rows_and_noise(tmp_path: Path):
    data = File(write(tmp_path, "x.npy", ROWS), noise_std=0.1)
    before = data.held_out(10)
    after = data.double().held_out(10)
    assert after.dtype == data.reference.dtype == data.batches(5, seeded()).next().dtype == torch.float64
    torch.testing.assert_close(after.float(), before)


def test_dequantisation_fills_the_cells_of_whole_numbers_and_leaves_other_columns(tmp_path: Path):
    whole = np.random.default_rng(1).integers(-3, 4, size=(5000, 1))
    rows = np.concatenate([whole, np.random.default_rng(2).normal(size=(5000, 1))], axis=1)
    data = File(write(tmp_path, "x.npy", rows), dequantise=True, standardize=False)
    served = epoch(data.batches(3500, seeded()), 1)
    for x in (served, data.held_out(2000)):
        u = x[:, 0] - x[:, 0].floor()
        assert abs(float(u.mean()) - 0.5) < 5.0 * math.sqrt(1 / 12 / len(u))
        assert abs(float(u.var()) - 1 / 12) < 5.0 * math.sqrt(1 / 180 / len(u))
        assert {int(v) for v in x[:, 0].floor().unique()} == set(range(-3, 4))
        assert set(x[:, 1].tolist()) <= set(rows.astype(np.float32)[:, 1].tolist())
    assert torch.equal(data.held_out(100), data.held_out(1000)[:100])
    again = epoch(data.batches(3500, seeded(1)), 1)
    assert not rows_of(served) & rows_of(again), "fresh noise each time"
    assert {math.floor(v) for v in served[:, 0].tolist()} == {math.floor(v) for v in again[:, 0].tolist()}


def test_the_scale_knows_the_noise(tmp_path: Path):
    """Var(n + u + 2 ε) = Var n + 1/12 + 4, and u moves the mean by a half."""
    rows = np.random.default_rng(1).integers(0, 9, size=(4000, 2))
    quiet, noisy = (File(write(tmp_path, "x.npy", rows), dequantise=bool(s), noise_std=s) for s in (0.0, 2.0))
    torch.testing.assert_close(noisy.standardizer.mean, quiet.standardizer.mean + 0.5)
    torch.testing.assert_close(noisy.standardizer.scale.square(), quiet.standardizer.scale.square() + 1 / 12 + 4.0)
    served = epoch(noisy.batches(2800, seeded()), 40)
    assert (served.mean(0).abs() < 5.0 / math.sqrt(2800 * 40) + 1e-3).all()
    assert ((served.var(0) - 1.0).abs() < 0.02).all()


def test_nll_in_data_units_does_not_depend_on_the_units_of_the_energy(tmp_path: Path):
    """−log N(x; m, s²) by hand, and through the standardizer with its Jacobian."""
    data = File(write(tmp_path, "x.npy", 5.0 + 3.0 * ROWS))
    x, normal = data.held_out(10), torch.distributions.Normal(0.0, 1.0)
    by_hand = torch.distributions.Normal(data.standardizer.mean, data.standardizer.scale).log_prob(x).sum(1)
    torch.testing.assert_close(normal.log_prob(data.standardizer(x)).sum(1) - data.standardizer.log_det, by_hand)


# --- large files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_a_mapped_file_gives_the_rows_of_one_that_is_read(dtype: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = (100 * ROWS).astype(dtype)
    read = File(write(tmp_path, "read.npy", rows), noise_std=0.1)
    monkeypatch.setattr(arrays, "MAPPED_FROM", 0)
    mapped = File(write(tmp_path, "mapped.npy", rows), noise_std=0.1)
    assert isinstance(mapped._rows, Mapped)
    assert isinstance(mapped._rows.array, np.memmap)
    assert isinstance(read._rows, Tensor)
    for a, b in [(read.held_out(9), mapped.held_out(9)), (read.reference, mapped.reference)]:
        assert torch.equal(a, b)
    assert torch.equal(epoch(read.batches(8, seeded()), 9), epoch(mapped.batches(8, seeded()), 9))


def test_a_mapped_file_is_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """No more of it than a batch is asked for at a time once it has been looked at."""
    monkeypatch.setattr(arrays, "MAPPED_FROM", 0)
    data = File(write(tmp_path, "x.npy", np.zeros((3 * CHUNK_NUMBERS // 10, 10), dtype=np.float32)))
    asked: list[int] = []
    get = Mapped.__getitem__

    def counted(rows: Mapped, index: Any) -> Tensor:
        found = get(rows, index)
        asked.append(found.numel())
        return found

    monkeypatch.setattr(Mapped, "__getitem__", counted)
    epoch(data.batches(64, seeded()), 20)
    assert asked == [640] * 20


def test_an_interrupted_run_on_a_mapped_file_resumes_bit_for_bit(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import os
    import signal

    no_pictures(monkeypatch)
    monkeypatch.setattr(arrays, "MAPPED_FROM", 0)
    write(tmp_path, "x.npy", np.random.default_rng(0).integers(0, 9, size=(100, 2)))
    words = ["train", *TINY, "dataset=file", "dataset.path=x.npy", "dataset.dequantise=true", "dataset.noise_std=0.1"]
    words += ["steps=12", "metrics=[score]"]
    assert ebm(*words, "hydra.run.dir=whole").code == 0
    with monkeypatch.context() as patched:
        at_step(patched, 7, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert ebm(*words, "hydra.run.dir=half").code == 143
    assert ebm("train", "checkpoint=half").code == 0
    assert differences(trained(tmp_path / "half"), trained(tmp_path / "whole")) == []


# --- what is refused, and where it is ---------------------------------------------------------------------------------


def with_value(value: float) -> np.ndarray:
    rows = ROWS.copy()
    rows[7, 2] = value
    return rows


WRONG = [
    ("x.npy", with_value(np.nan), "holds nan in row 7, column 2$"),
    ("x.npz", {"x": with_value(-np.inf)}, "holds -inf in row 7, column 2$"),
    ("x.pt", torch.from_numpy(with_value(np.inf)), "holds inf in row 7, column 2$"),
    ("x.npy", np.full((5, 2), 1e300), r"holds 1e\+300 in row 0, column 0 \(and 9 more like it\)"),
    (
        "x.csv",
        "time,x\n" + "".join(f"17000000{i:02},{i}\n" for i in range(40)),
        r"holds numbers from 1700000000 to 1700000039 in column 0 \(time\), which float32 rounds too coarsely",
    ),
    ("x.npy", np.array([[1.0, "a"]], dtype=object), "holds Python objects, not numbers"),
    ("x.npz", {"x": np.array([[1.0, "a"]], dtype=object)}, "holds Python objects, not numbers"),
    ("x.npy", np.array([["a", "b"]]), "must hold real numbers, got dtype <U1"),
    ("x.npy", np.ones((5, 2), dtype=complex), "must hold real numbers, got dtype complex128"),
    ("x.npy", np.ones((0, 3)), r"is empty: shape \[0, 3\]"),
    ("x.npy", np.ones((9, 2, 2)), r"must hold rows and columns, \[N, D\], got shape \[9, 2, 2\]"),
    ("x.npy", np.array(1.0), r"must hold rows and columns, \[N, D\], got one number"),
    ("x.npy", ROWS[:3], "holds 3 rows: 4 are needed"),
    ("x.npy", ROWS[:1], "holds 1 row: 4 are needed"),
    ("x.npy", b"not an array", "cannot be read as .npy"),
    ("x.npy", b"", "cannot be read as .npy"),
    ("x.npz", b"not a zip", "cannot be read as .npz"),
    ("x.npz", {"a": ROWS, "b": ROWS}, "must hold one array, got 2: a, b"),
    ("x.pt", {"weight": torch.ones(5, 2)}, "must hold one tensor, got a dict"),
    ("x.pt", torch.nn.Linear(2, 2), "is damaged, or holds more than the one tensor"),
    ("x.pt", b"not a tensor", "is damaged, or holds more than the one tensor"),
    ("x.pt", torch.ones(5, 2, dtype=torch.complex64), "must hold a dense tensor of real numbers, got .*complex64"),
    ("x.pt", torch.ones(5, 2).to_sparse(), "must hold a dense tensor of real numbers, got torch.sparse_coo"),
    ("x.csv", "", "is empty: it has no row of numbers"),
    ("x.csv", "\n\n", "is empty: it has no row of numbers"),
    ("x.csv", "a,b\n", "is empty: it has no row of numbers"),
    ("x.csv", "1,2\n", "holds 1 row: 4 are needed"),
    ("x.csv", "1,2\n3,oops\n", "holds text 'oops' in line 2, column 1$"),
    ("x.csv", "1,2\n3,4_0\n", "holds text '4_0' in line 2, column 1$"),
    ("x.csv", "a,1\n3,4\n", "holds text 'a' in line 1, column 0$"),
    ("x.csv", "a,b\n\n1,2\n3,oops\n", r"holds text 'oops' in line 4, column 1 \(b\)"),
    ("x.csv", "a,b\n1,2\n3,\n", r"holds nothing in line 3, column 1 \(b\)"),
    ("x.csv", "a,b\n1,2\n\nnan,4\n5,6\n7,8\n", r"holds nan in line 4, column 0 \(a\)"),
    ("x.csv", "1,2\n\n3,1e99\n5,6\n7,8\n", r"holds 1e\+99 in line 3, column 1$"),
    ("x.csv", "1,2\n3,4,5\n", "has 3 columns in line 2, expected 2"),
    ("x.csv", "a,b,c\n1,2\n", "has 2 columns in line 2, expected 3"),
    ("x.csv", "1;2\n3;4\n", r"holds text '3;4' in line 2, column 0 \(1;2\)"),
    ("x.csv", "__import__('os').abort(),2\n1,2\n", r"holds text \"__import__"),
    ("x.csv", b"\xff\xfe\x00", "cannot be read as .csv"),
    ("x.csv", b"1,2\n3,\x004\n5,6\n", "holds text|cannot be read as .csv"),
]


@pytest.mark.parametrize(("name", "content", "message"), WRONG)
def test_a_file_that_holds_no_rows_says_where(name: str, content: object, message: str, tmp_path: Path):
    path = write(tmp_path, name, content)
    with pytest.raises(ValueError, match=rf"^path \S+{name} ({message})") as caught:
        File(path)
    assert "\n" not in str(caught.value)


def test_a_wrong_number_is_found_behind_the_first_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ebm_cli.datasets.finite.CHUNK_NUMBERS", 9)
    with pytest.raises(ValueError, match=r"holds nan in row 7, column 2$"):
        File(write(tmp_path, "x.npy", with_value(np.nan)))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (None, r"path must name a .npy, .npz, .csv, .tsv, .parquet or .pt file$"),
        ("data.xlsx", r"path must name a .npy, .npz, .csv, .tsv, .parquet or .pt file, got data.xlsx"),
        ("nowhere/x.npy", "path nowhere/x.npy is not a file: looked for /"),
    ],
)
def test_a_path_that_names_no_such_file_is_refused(path: str | None, message: str):
    with pytest.raises(ValueError, match=f"^{message}"):
        File(path)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"test_fraction": 0.0}, r"test_fraction must be in \(0, 1\), got 0.0"),
        ({"test_fraction": 1.0}, r"test_fraction must be in \(0, 1\), got 1.0"),
        ({"validation_fraction": -0.1}, r"validation_fraction must be in \(0, 1\), got -0.1"),
        (
            {"validation_fraction": 0.5, "test_fraction": 0.5},
            "validation_fraction=0.5 and test_fraction=0.5 leave 0 of",
        ),
        (
            {"validation_fraction": 0.9, "test_fraction": 0.9},
            "validation_fraction=0.9 and test_fraction=0.9 leave 0 of",
        ),
        ({"n_train": 36}, "n_train must be <= 35"),
        ({"n_train": 1}, "n_train must be >= 2"),
        ({"n_train": 0}, "n_train must be >= 1 or null, got 0"),
        ({"noise_std": -1.0}, "noise_std must be >= 0, got -1.0"),
        ({"seed": -1}, "seed must be >= 0, got -1"),
        ({"dequantise": True}, "dequantise must be false: no column holds only whole numbers"),
    ],
)
def test_keys_that_cannot_be_are_refused(keys: dict[str, Any], message: str, tmp_path: Path):
    with pytest.raises(ValueError, match=f"^{message}"):
        File(write(tmp_path, "x.npy", ROWS), **keys)


def test_whole_numbers_without_room_for_noise_are_refused(tmp_path: Path):
    rows = np.stack([np.arange(9), np.arange(9) + 2**22], axis=1)
    with pytest.raises(
        ValueError, match=r"^dequantise must be false: column 1 holds whole numbers of 4194304 and more"
    ):
        File(write(tmp_path, "x.npy", rows), dequantise=True)


# --- Parquet ----------------------------------------------------------------------------------------------------------


def test_without_pyarrow_parquet_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    path = write(tmp_path, "x.parquet", b"PAR1")
    with pytest.raises(ValueError, match=r"^path \S+ needs pyarrow, which is not installed: pip install"):
        File(path)


def test_parquet_files_of_pyarrow_are_read(tmp_path: Path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")

    def written(**columns: Any) -> str:
        parquet.write_table(arrow.table(columns), tmp_path / "x.parquet")
        return str(tmp_path / "x.parquet")

    data = File(written(a=ROWS[:, 0], b=np.arange(50), c=ROWS[:, 2] > 0), standardize=False)
    x = torch.cat([data.reference, data.validation(99), data.held_out(99)])
    assert rows_of(x) == rows_of(torch.tensor(np.stack([ROWS[:, 0], np.arange(50), ROWS[:, 2] > 0], axis=1)).float())
    for columns, message in [
        ({"a": ROWS[:, 0], "b": ["text"] * 50}, r"holds string in column 1 \(b\), not numbers"),
        ({"a": [1, None, 3, 4, 5]}, r"holds nan in row 1, column 0 \(a\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            File(written(**columns))
    with pytest.raises(ValueError, match=r"cannot be read as .parquet"):
        File(write(tmp_path, "y.parquet", b"PAR1"))
