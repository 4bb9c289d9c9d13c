"""Published images: read from their files, fetched whole or not at all, and never run."""

import gzip
import hashlib
import io
import pickle
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ebm_cli.datasets import CIFAR10, MNIST, Dataset, FashionMNIST
from ebm_cli.datasets.io.download import fetch
from ebm_cli.datasets.io.safe_pickle import read_dict
from tests.pictures import (
    CIFAR_NAMES,
    IDX_NAMES,
    archive,
    cifar_batch,
    cifar_files,
    idx,
    idx_arrays,
    pickled,
    put_cifar,
    put_idx,
)

FOLDER = "cifar-10-batches-py"


def put_packed_idx(root: Path) -> None:
    put_idx(root, packed=True)


def put_plain_idx(root: Path) -> None:
    put_idx(root, packed=False)


def put_packed_cifar(root: Path) -> None:
    put_cifar(root, packed=True)


def put_plain_cifar(root: Path) -> None:
    put_cifar(root, packed=False)


SETS: list[tuple[type[Any], Callable[[Path], None], tuple[int, ...]]] = [
    (MNIST, put_packed_idx, (1, 28, 28)),
    (MNIST, put_plain_idx, (1, 28, 28)),
    (FashionMNIST, put_packed_idx, (1, 28, 28)),
    (CIFAR10, put_packed_cifar, (3, 32, 32)),
    (CIFAR10, put_plain_cifar, (3, 32, 32)),
]
every_set = pytest.mark.parametrize(
    ("kind", "put", "shape"), SETS, ids=[f"{k.__name__}-{p.__name__}" for k, p, _ in SETS]
)


def numbers(x: Tensor) -> set[int]:
    """Which images these are, by their first pixel."""
    return {int(v) for v in x.flatten(1)[:, 0].floor()}


# --- what is read -----------------------------------------------------------------------------------------------------


@every_set
def test_published_test_images_are_held_out_and_the_others_are_split(
    kind: type[Any], put: Callable[[Path], None], shape: tuple[int, ...], tmp_path: Path
):
    put(tmp_path)
    data: Dataset = kind(str(tmp_path), standardize=False, dequantise=False)
    n = 40
    parts = [numbers(x) for x in (data.reference, data.validation(99), data.held_out(99))]
    assert data.shape == shape
    assert [len(part) for part in parts[:2]] == [36, 4]
    assert parts[0] | parts[1] == set(range(n))
    assert parts[2] == set(range(n, n + (10 if kind is not CIFAR10 else 8)))


@every_set
def test_one_map_takes_the_bytes_to_minus_one_and_one(
    kind: type[Any], put: Callable[[Path], None], shape: tuple[int, ...], tmp_path: Path
):
    put(tmp_path)
    for dequantise, top in ((False, 255.0), (True, 256.0)):
        data: Dataset = kind(str(tmp_path), dequantise=dequantise)
        ends = data.standardizer(torch.stack([torch.zeros(shape), torch.full(shape, top)]))
        assert torch.equal(ends, torch.stack([-torch.ones(shape), torch.ones(shape)]))
        assert float(data.standardizer.log_det) == pytest.approx(ends[0].numel() * np.log(top / 2))
        x = data.batches(36, torch.Generator().manual_seed(0)).next()
        assert -1.0 <= float(x.min()) <= float(x.max()) <= 1.0
        if dequantise:
            assert len(x.unique()) > 100 * 36, "fresh noise on every pixel"


def test_channels_are_red_green_blue(tmp_path: Path):
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


def test_another_set_of_idx_files_can_take_their_place(tmp_path: Path):
    for name, array in zip(IDX_NAMES, idx_arrays(side=5), strict=True):
        (tmp_path / name).write_bytes(idx(array))
    assert MNIST(str(tmp_path)).shape == (1, 5, 5)


# --- what is not there, or something else -----------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), [(MNIST, "train-images-idx3-ubyte.gz"), (CIFAR10, "cifar-10-python.tar.gz")])
def test_a_missing_file_is_named_with_the_place_for_it(kind: type[Any], name: str, tmp_path: Path):
    root = tmp_path / "nowhere"
    with pytest.raises(FileNotFoundError) as caught:
        kind(str(root))
    assert str(caught.value) == (
        f"root {root} holds no {name}: put that of {kind.URL} into {root}, or fetch it with dataset.download=true"
    )
    assert not root.exists()


def test_the_one_file_that_is_missing_is_named(tmp_path: Path):
    put_idx(tmp_path, packed=False)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no t10k-labels-idx1-ubyte\.gz: put "):
        MNIST(str(tmp_path))
    put_cifar(tmp_path, packed=False)
    (tmp_path / FOLDER / "data_batch_3").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no data_batch_3 in cifar-10-batches-py$"):
        CIFAR10(str(tmp_path))
    (tmp_path / "packed").mkdir()
    files = cifar_files()
    (tmp_path / "packed" / "cifar-10-python.tar.gz").write_bytes(archive({k: files[k] for k in CIFAR_NAMES[:5]}))
    with pytest.raises(FileNotFoundError, match=r"holds no test_batch in cifar-10-python\.tar\.gz$"):
        CIFAR10(str(tmp_path / "packed"))


IMAGES, LABELS, TEST_IMAGES, _ = IDX_NAMES
GOOD = idx(idx_arrays()[0])


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (IMAGES, b"", f"a {IMAGES} that is no IDX file of bytes in 3 dimensions"),
        (IMAGES, b"\0\0\x0d\x03" + GOOD[4:], f"a {IMAGES} that is no IDX file of bytes in 3 dimensions"),
        (IMAGES, GOOD[:-1], f"a {IMAGES} of {len(GOOD) - 17} bytes for shape [40, 28, 28]"),
        (IMAGES, GOOD + b"\0", f"a {IMAGES} of more than {len(GOOD) - 16} bytes for shape [40, 28, 28]"),
        (LABELS, idx(np.zeros(39, np.uint8)), f"40 images in {IMAGES}, and 39 labels in {LABELS}"),
        (LABELS, GOOD, f"a {LABELS} that is no IDX file of bytes in 1 dimensions"),
        (TEST_IMAGES, idx(np.zeros((10, 9, 9), np.uint8)), "training and test images of different sizes, [28, 28] and"),
        (f"{IMAGES}.gz", GOOD, f"a {IMAGES}.gz that cannot be read: Not a gzipped file"),
        (f"{IMAGES}.gz", gzip.compress(GOOD)[:-9], f"a {IMAGES}.gz that cannot be read: Compressed file ended"),
    ],
)
def test_an_idx_file_of_something_else_is_named(name: str, data: bytes, message: str, tmp_path: Path):
    put_idx(tmp_path, packed=False)
    (tmp_path / name.removesuffix(".gz")).unlink()
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=rf"^root \S+ holds {re.escape(message)}"):
        MNIST(str(tmp_path))


class Attack:
    """What a pickle can do: anything."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def test_a_batch_is_never_run(tmp_path: Path):
    marker = tmp_path / "ran"
    attack = pickle.dumps({"data": Attack(marker), "labels": []}, protocol=2)
    pickle.loads(attack)
    assert marker.exists(), "the control: a plain unpickler runs it"
    marker.unlink()
    put_cifar(tmp_path, packed=False)
    (tmp_path / FOLDER / "data_batch_2").write_bytes(attack)
    with pytest.raises(ValueError, match=r"holds a data_batch_2 that cannot be read: it names \S+, which is not read"):
        CIFAR10(str(tmp_path))
    assert not marker.exists()


@pytest.mark.parametrize(
    "name", ["os.system", "builtins.eval", "builtins.getattr", "numpy.load", "numpy.core.multiarray.fromfile"]
)
def test_no_other_name_is_read_from_a_pickle(name: str):
    module, _, function = name.rpartition(".")
    with pytest.raises(ValueError, match=f"^it names {re.escape(name)}, which is not read$"):
        read_dict(f"c{module}\n{function}\n.".encode())


def test_what_stands_for_an_array_in_a_pickle_calls_nothing():
    for program in (b"cnumpy\nndarray\n(I9\ntR.", b"Pelsewhere\n.", b"(lp0\n.", b"garbage", b""):
        with pytest.raises(ValueError, match=r"^.+$"):
            read_dict(program)


def test_a_pickle_of_python_2_and_one_of_numpy_are_read():
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    for data in (pickled(cifar_batch(3, 2)), pickle.dumps({"labels": [3, 4], "data": array}, protocol=3)):
        found = read_dict(data)
        assert found["labels"] == [3, 4]
        assert found["data"].dtype == np.uint8
    assert np.array_equal(found["data"], array)
    assert read_dict(pickled({"name": "x"})) == {"name": b"x"}


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"labels": [1] * 8}, "without 'data'"),
        ({"data": [1] * 8, "labels": [1] * 8}, "that is no batch of"),
        (cifar_batch(0) | {"labels": [1] * 7}, "that is no batch of"),
        (cifar_batch(0) | {"labels": [10] * 8}, "that is no batch of"),
        (cifar_batch(0) | {"labels": 8}, "that is no batch of"),
        ([1, 2], "that cannot be read"),
    ],
)
def test_a_batch_of_something_else_is_named(batch: object, message: str, tmp_path: Path):
    put_cifar(tmp_path, packed=False)
    (tmp_path / FOLDER / "test_batch").write_bytes(pickled(batch))
    with pytest.raises(ValueError, match=rf"^root \S+ holds a test_batch {message}"):
        CIFAR10(str(tmp_path))


def test_an_array_of_something_else_is_named():
    for array in (np.ones((2, 2)), np.asfortranarray(np.ones((2, 3), np.uint8)), np.array([object()])):
        with pytest.raises(ValueError, match=r"array of something else|names"):
            read_dict(pickle.dumps({"data": array}, protocol=3))


def test_a_damaged_archive_is_named(tmp_path: Path):
    file = tmp_path / "cifar-10-python.tar.gz"
    for data in (b"", b"not a tar", archive(cifar_files())[:-2000]):
        file.write_bytes(data)
        with pytest.raises(ValueError, match=r"holds a cifar-10-python.tar.gz that cannot be read|holds no"):
            CIFAR10(str(tmp_path))


# --- fetched ----------------------------------------------------------------------------------------------------------


class Served(dict[str, bytes]):
    """Files by their paths, and the address that they are served at; `asked` are the paths that were asked for."""

    url: str = ""
    cut: bool = False
    """Announce the whole file, send half of it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []


@pytest.fixture
def served() -> Iterator[Served]:
    files = Served()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            files.asked.append(name)
            if name not in files:
                self.send_error(404)
                return
            data = files[name]
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if files.cut else data)

        def log_message(self, *arguments: Any) -> None:
            """Nothing on the tests' output."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        files.url = f"http://127.0.0.1:{server.server_port}/"
        yield files
        server.shutdown()
        thread.join()


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def publish_mnist(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    served |= {f"{name}.gz": gzip.compress(idx(a)) for name, a in zip(IDX_NAMES, idx_arrays(), strict=True)}
    monkeypatch.setattr(MNIST, "URL", served.url)
    monkeypatch.setattr(MNIST, "PUBLISHED", {name: md5(data) for name, data in served.items()})


def test_what_is_published_is_fetched_once(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    publish_mnist(served, monkeypatch)
    root = tmp_path / "new" / "folder"
    assert MNIST(str(root), download=True).shape == (1, 28, 28)
    assert {file.name: file.read_bytes() for file in root.iterdir()} == dict(served)
    assert sorted(served.asked) == sorted(served)
    (root / "t10k-labels-idx1-ubyte.gz").unlink()
    MNIST(str(root), download=True)
    MNIST(str(root))
    assert served.asked[4:] == ["t10k-labels-idx1-ubyte.gz"]


def test_an_archive_is_fetched(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    served[CIFAR10.ARCHIVE] = archive(cifar_files())
    monkeypatch.setattr(CIFAR10, "URL", served.url)
    monkeypatch.setattr(CIFAR10, "MD5", md5(served[CIFAR10.ARCHIVE]))
    assert CIFAR10(str(tmp_path), download=True).shape == (3, 32, 32)
    assert [file.name for file in tmp_path.iterdir()] == [CIFAR10.ARCHIVE]


def test_another_checksum_is_refused_and_leaves_nothing(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    publish_mnist(served, monkeypatch)
    served["train-labels-idx1-ubyte.gz"] += b"\0"
    with pytest.raises(
        OSError, match=r"^download=true: http://127\S+train-labels\S+: it has md5 \w+, and \w+ was publ"
    ):
        MNIST(str(tmp_path), download=True)
    assert [file.name for file in tmp_path.iterdir()] == ["train-images-idx3-ubyte.gz"]


def test_half_a_file_is_refused_and_leaves_nothing(served: Served, tmp_path: Path):
    served["x"] = bytes(3_000_000)
    served.cut = True
    with pytest.raises(OSError, match=r"^download=true: http://\S+/x: "):
        fetch(served.url + "x", tmp_path / "x", md5(served["x"]))
    assert list(tmp_path.iterdir()) == []
    served.cut = False
    fetch(served.url + "x", tmp_path / "x", md5(served["x"]))
    assert (tmp_path / "x").read_bytes() == served["x"]


def test_an_address_that_does_not_answer_leaves_no_folder(served: Served, tmp_path: Path):
    for url, why in [(f"{served.url}y", "HTTP Error 404"), ("http://127.0.0.1:1/y", "urlopen error")]:
        with pytest.raises(OSError, match=rf"^download=true: {url}: .*{why}"):
            fetch(url, tmp_path / "new" / "y", md5(b""))
    assert list(tmp_path.iterdir()) == []


def test_only_the_web_is_fetched_from(tmp_path: Path):
    (tmp_path / "secret").write_bytes(b"x")
    with pytest.raises(OSError, match=r"is no http or https address$"):
        fetch((tmp_path / "secret").as_uri(), tmp_path / "copy", md5(b"x"))
    assert not (tmp_path / "copy").exists()


def test_the_published_checksums_are_md5s():
    assert list(MNIST.PUBLISHED) == list(FashionMNIST.PUBLISHED) == [f"{name}.gz" for name in IDX_NAMES]
    for checksum in (*MNIST.PUBLISHED.values(), *FashionMNIST.PUBLISHED.values(), CIFAR10.MD5):
        assert re.fullmatch("[0-9a-f]{32}", checksum)


def test_the_pickles_of_the_tests_are_those_of_python_2():
    """What the published batches are made of: no opcode that Python 2 did not have."""
    import pickletools

    names = {op.name for op, _, _ in pickletools.genops(io.BytesIO(cifar_files()["test_batch"]))}
    assert {"BINSTRING", "GLOBAL", "REDUCE", "BUILD"} <= names
    assert not names & {"BINUNICODE", "BINBYTES", "SHORT_BINBYTES", "FRAME"}
