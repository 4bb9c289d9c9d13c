"""Published image sets: MNIST, Fashion-MNIST and CIFAR-10, from packed and unpacked files."""

import gzip
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ebm_cli.datasets import CIFAR10, MNIST, Dataset, FashionMNIST
from tests.datasets.web import Served, md5
from tests.image_files import IDX_NAMES, archive, cifar_files, idx, idx_arrays, put_cifar, put_idx
from tests.support import Ebm, seeded

Put = Callable[[Path], None]

SETS: dict[str, tuple[type[Any], Put, tuple[int, ...]]] = {
    "MNIST, packed": (MNIST, partial(put_idx, packed=True), (1, 28, 28)),
    "MNIST, unpacked": (MNIST, partial(put_idx, packed=False), (1, 28, 28)),
    "FashionMNIST, packed": (FashionMNIST, partial(put_idx, packed=True), (1, 28, 28)),
    "CIFAR10, packed": (CIFAR10, partial(put_cifar, packed=True), (3, 32, 32)),
    "CIFAR10, unpacked": (CIFAR10, partial(put_cifar, packed=False), (3, 32, 32)),
}
every_set = pytest.mark.parametrize(("kind", "put", "shape"), SETS.values(), ids=SETS)


def numbers(x: Tensor) -> set[int]:
    """The numbers of images, which are their first pixels."""
    return {int(v) for v in x.flatten(1)[:, 0].floor()}


def publish_mnist(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    served |= {f"{name}.gz": gzip.compress(idx(a)) for name, a in zip(IDX_NAMES, idx_arrays(), strict=True)}
    monkeypatch.setattr(MNIST, "URL", served.url)
    monkeypatch.setattr(MNIST, "PUBLISHED", {name: md5(data) for name, data in served.items()})


@every_set
def test_published_test_images_are_held_out(kind: type[Any], put: Put, shape: tuple[int, ...], tmp_path: Path):
    put(tmp_path)
    data: Dataset = kind(str(tmp_path), standardize=False, dequantise=False)
    n = 40
    parts = [numbers(x) for x in (data.reference, data.validation(99), data.held_out(99))]
    assert data.shape == shape
    assert [len(part) for part in parts[:2]] == [36, 4]
    assert parts[0] | parts[1] == set(range(n))
    assert parts[2] == set(range(n, n + (10 if kind is not CIFAR10 else 8)))


@every_set
@pytest.mark.parametrize(("dequantise", "high"), [(False, 255.0), (True, 256.0)])
def test_pixels_are_mapped_to_minus_one_and_one(
    kind: type[Any], put: Put, shape: tuple[int, ...], dequantise: bool, high: float, tmp_path: Path
):
    put(tmp_path)
    data: Dataset = kind(str(tmp_path), dequantise=dequantise)
    ends = data.standardizer(torch.stack([torch.zeros(shape), torch.full(shape, high)]))
    assert torch.equal(ends, torch.stack([-torch.ones(shape), torch.ones(shape)]))
    assert float(data.standardizer.log_det) == pytest.approx(ends[0].numel() * np.log(high / 2))
    x = data.batches(36, seeded()).next()
    assert -1.0 <= float(x.min()) <= float(x.max()) <= 1.0
    assert (len(x.unique()) > 100 * 36) is dequantise, "fresh noise on every pixel"


def test_cifar10_channels_are_red_green_blue(tmp_path: Path):
    put_cifar(tmp_path)
    x = CIFAR10(str(tmp_path), dequantise=False).held_out(99)
    red = x[:, 0]
    assert (red == red[:, :1, :1]).all()
    assert torch.equal(x[:, 1], red + 100)
    assert torch.equal(x[:, 2], 255 - red)


def test_labels_stay_with_their_images(tmp_path: Path):
    put_cifar(tmp_path / "cifar")
    put_idx(tmp_path / "mnist")
    _, train, _, test = idx_arrays()
    classes = [*train.tolist(), *test.tolist()]
    data: Dataset
    for data, right in [
        (CIFAR10(str(tmp_path / "cifar"), standardize=False), [i % 10 for i in range(60)]),
        (MNIST(str(tmp_path / "mnist"), standardize=False), classes),
    ]:
        for part in ("train", "validation", "test"):
            found = data.labelled(part, 6)
            assert found is not None
            assert found.labels.tolist() == [right[int(v)] for v in found.x.flatten(1)[:, 0]]
        held_out = data.labelled("test", 6)
        assert held_out is not None
        assert torch.equal(held_out.x, data.held_out(6))


def test_mnist_reads_another_set_of_idx_files(tmp_path: Path):
    for name, array in zip(IDX_NAMES, idx_arrays(side=5), strict=True):
        (tmp_path / name).write_bytes(idx(array))
    assert MNIST(str(tmp_path)).shape == (1, 5, 5)


@pytest.mark.parametrize(("kind", "name"), [(MNIST, "train-images-idx3-ubyte.gz"), (CIFAR10, "cifar-10-python.tar.gz")])
def test_missing_file_is_named_with_the_place_for_it(kind: type[Any], name: str, tmp_path: Path):
    root = tmp_path / "nowhere"
    with pytest.raises(FileNotFoundError) as caught:
        kind(str(root))
    assert str(caught.value) == (
        f"root {root} holds no {name}: put that of {kind.URL} into {root}, or download it with dataset.download=true"
    )
    assert not root.exists()


def test_train_reports_a_missing_file_in_one_line(ebm: Ebm, tmp_path: Path):
    ran = ebm("train", "dataset=mnist")
    assert ran.code == 1
    assert ran.err.startswith("ebm: dataset.root data/mnist holds no train-images-idx3-ubyte.gz: put that of https://")
    assert len(ran.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == [], "before anything runs"


def test_mnist_downloads_missing_files_once(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    publish_mnist(served, monkeypatch)
    root = tmp_path / "new" / "folder"
    assert MNIST(str(root), download=True).shape == (1, 28, 28)
    assert {file.name: file.read_bytes() for file in root.iterdir()} == dict(served)
    assert sorted(served.requested) == sorted(served)
    (root / "t10k-labels-idx1-ubyte.gz").unlink()
    MNIST(str(root), download=True)
    MNIST(str(root))
    assert served.requested[4:] == ["t10k-labels-idx1-ubyte.gz"]


def test_mnist_refuses_another_checksum_and_leaves_nothing(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    publish_mnist(served, monkeypatch)
    served["train-labels-idx1-ubyte.gz"] += b"\0"
    message = r"^download=true: http://127\S+train-labels\S+: the download has md5 \w+ instead of the published \w+: "
    with pytest.raises(OSError, match=message):
        MNIST(str(tmp_path), download=True)
    assert [file.name for file in tmp_path.iterdir()] == ["train-images-idx3-ubyte.gz"]


def test_cifar10_downloads_its_archive(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    served[CIFAR10.ARCHIVE] = archive(cifar_files())
    monkeypatch.setattr(CIFAR10, "URL", served.url)
    monkeypatch.setattr(CIFAR10, "MD5", md5(served[CIFAR10.ARCHIVE]))
    assert CIFAR10(str(tmp_path), download=True).shape == (3, 32, 32)
    assert [file.name for file in tmp_path.iterdir()] == [CIFAR10.ARCHIVE]


def test_published_checksums_are_md5s():
    assert list(MNIST.PUBLISHED) == list(FashionMNIST.PUBLISHED) == [f"{name}.gz" for name in IDX_NAMES]
    for checksum in (*MNIST.PUBLISHED.values(), *FashionMNIST.PUBLISHED.values(), CIFAR10.MD5):
        assert re.fullmatch("[0-9a-f]{32}", checksum)
