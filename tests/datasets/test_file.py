"""A user's file as a data set: every kind of file, and a run that is interrupted."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ebm_cli.config.build import build
from ebm_cli.datasets import Dataset, File
from ebm_cli.datasets.io.arrays import MAPPED_FROM
from ebm_cli.datasets.io.mapped import MappedRows
from ebm_cli.runs.added_keys import fill
from tests.datasets.support import ROWS, rows_of, take, write
from tests.support import TINY, Ebm, at_step, differences, no_pictures, seeded, trained


def text(delimiter: str, header: str = "", end: str = "\n") -> str:
    return header + end.join(delimiter.join(repr(float(v)) for v in row) for row in ROWS)


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
def test_file_is_split_into_three_parts(name: str, content: object, tmp_path: Path):
    data: Dataset = File(write(tmp_path, name, content), standardize=False)
    parts = [rows_of(x) for x in (data.reference, data.validation(1000), data.held_out(1000))]
    assert data.shape == (3,)
    assert data.density is None
    assert data.labelled("train", 10) is None
    assert [len(part) for part in parts] == [35, 5, 10]
    assert set().union(*parts) == rows_of(torch.from_numpy(ROWS))
    assert rows_of(take(data.batches(7, seeded()), 5)) == parts[0]


def test_file_keeps_the_unit_of_a_column_constant_up_to_rounding(tmp_path: Path):
    rows = np.stack([np.full(50, 1e9), np.linspace(0.0, 1.0, 50), np.full(50, 0.1)], axis=1)
    rows[::2, 2] = np.nextafter(0.1, 1.0)
    assert File(write(tmp_path, "x.npy", rows)).standardizer.scale[[0, 2]].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"n_train": 36}, "n_train must be <= 35"),
        ({"noise_std": -1.0}, "noise_std must be >= 0, got -1.0"),
        ({"seed": -1}, "seed must be >= 0, got -1"),
        ({"dequantise": True}, "dequantise must be false: no column holds only whole numbers"),
    ],
)
def test_file_refuses_keys_that_do_not_fit(keys: dict[str, Any], message: str, tmp_path: Path):
    with pytest.raises(ValueError, match=f"^{message}"):
        File(write(tmp_path, "x.npy", ROWS), **keys)


@pytest.mark.parametrize(("n", "count"), [(3, "3 rows"), (1, "1 row")])
def test_file_refuses_fewer_than_four_rows(n: int, count: str, tmp_path: Path):
    for name, content in [("x.npy", ROWS[:n]), ("x.csv", "1.5,2\n" * n)]:
        with pytest.raises(ValueError, match=rf"^path \S+ holds {count}: at least 4 are needed"):
            File(write(tmp_path, name, content))


@pytest.mark.slow
def test_interrupted_run_on_a_mapped_file_resumes_bit_for_bit(
    ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    no_pictures(monkeypatch)
    whole = np.random.default_rng(0).integers(0, 9, size=(MAPPED_FROM // 16, 2), dtype=np.int64)
    assert isinstance(File(write(tmp_path, "x.npy", whole))._rows, MappedRows)
    words = ["train", *TINY, "dataset=file", "dataset.path=x.npy", "dataset.dequantise=true", "dataset.noise_std=0.1"]
    words += ["steps=12", "metrics=[score]", "energy=mlp", "noise=gaussian", "patience=null"]
    assert ebm(*words, "hydra.run.dir=whole").code == 0
    with monkeypatch.context() as patched:
        at_step(patched, 7, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert ebm(*words, "hydra.run.dir=half").code == 143
    assert ebm("train", "checkpoint=half").code == 0
    assert differences(trained(tmp_path / "half"), trained(tmp_path / "whole")) == []


def test_file_keeps_the_names_of_its_columns(tmp_path: Path):
    assert File(write(tmp_path, "x.csv", text(",", "width, height,depth\n"))).column_names == (
        "width",
        "height",
        "depth",
    )
    assert File(write(tmp_path, "x.npy", ROWS)).column_names is None


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ("1,5\n2,7\n3,1\n2,2\n", [[1, 5], [2, 7], [3, 1], [2, 2]]),
        ("0,1\n5,6\n7,8\n9,10\n", [[0, 1], [5, 6], [7, 8], [9, 10]]),
        (",a\n0,5\n1,7\n2,6\n3,5\n", [[0, 5], [1, 7], [2, 6], [3, 5]]),
        ("id,a\n0,5\n1,7\n2,6\n3,5\n", [[0, 5], [1, 7], [2, 6], [3, 5]]),
    ],
)
def test_file_of_an_earlier_run_is_read_as_it_was(content: str, rows: list[list[int]], tmp_path: Path):
    path = write(tmp_path, "x.csv", content)
    node = {"_target_": "ebm_cli.datasets.File", "path": path, "standardize": False}
    assert rows_of(build(fill({"dataset": node})["dataset"], "dataset", File)._rows) == {
        tuple(map(float, r)) for r in rows
    }
    try:
        now = File(path)._rows.shape
    except ValueError:
        now = None
    assert now != (len(rows), 2), "control: today the same file is refused, or its index is left out"


def test_label_is_the_class_of_each_row_and_not_trained_on(tmp_path: Path):
    lines = [f"{x[0]!r},{x[1]!r},{'bc'[i % 2]}" for i, x in enumerate(ROWS[:, :2].tolist())]
    data = File(write(tmp_path, "x.csv", "\n".join(["a,b,kind", *lines])), label="kind", standardize=False)
    kind = {tuple(np.float32(row)): i % 2 for i, row in enumerate(ROWS[:, :2].tolist())}
    for part in ("train", "validation", "test"):
        found = data.labelled(part, 1000)
        assert found is not None
        assert [kind[tuple(np.float32(row))] for row in found.x.tolist()] == found.labels.tolist()
    assert (data.shape, data.column_names, data.class_names) == ((2,), ("a", "b"), ("b", "c"))


def test_run_says_what_it_read(ebm: Ebm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    no_pictures(monkeypatch)
    header = ";".join(["a", "b", "kind"]) + "\n"
    rows = "".join(f"{x:.3f};{y:.3f};{'uv'[i % 2]}\n".replace(".", ",") for i, (x, y, _) in enumerate(ROWS.tolist()))
    (tmp_path / "größe 1.csv").write_text(header + rows, encoding="utf-8")
    words = [*TINY, "dataset=file", "dataset.path=größe 1.csv", "dataset.label=kind", "metrics=[score]", "steps=3"]
    ran = ebm("train", *words, "eval.ood=file", "eval.ood.path=größe 1.csv", "eval.ood.drop=kind", "hydra.run.dir=run")
    assert ran.code == 0, ran.err
    said = "50 rows × 2 columns (a, b) from größe 1.csv; classes in kind: u (25), v (25); semicolons between columns; "
    for text in (" ".join(ran.out.split()), (tmp_path / "run" / "train.log").read_text(encoding="utf-8")):
        assert f"data: {said}decimal commas" in text
        assert "eval.ood: 50 rows × 2 columns (a, b) from größe 1.csv; semicolons between columns" in text
    stored = trained(tmp_path / "run")["dataset"]
    assert stored["description"] == f"{said}decimal commas"
    assert list(stored["fingerprint"]["names"]) == ["a", "b"]
    again = ebm("evaluate", "checkpoint=run", "metrics=[score]", "hydra.run.dir=again")
    assert (again.code, "data: 50 rows × 2 columns (a, b)" in again.out) == (0, True)


def test_key_in_a_message_is_that_of_the_second_file(ebm: Ebm, tmp_path: Path):
    (tmp_path / "x.csv").write_text("a,kind\n" + "1,u\n2,v\n" * 4)
    ran = ebm("train", *TINY, "eval.ood=file", "eval.ood.path=x.csv")
    assert ran.code == 1
    assert ran.err.startswith(
        "ebm: eval.ood.path x.csv holds text in column kind ('u' (4), 'v' (4), the first in line 2). eval.ood.drop=kind"
    )
    assert "eval.ood.drop=kind leaves it out" in ran.err
