"""CIFAR-10's batches: never run, and named if they hold anything else."""

import pickle
from pathlib import Path
from typing import Any

import pytest

from ebm_cli.datasets import CIFAR10
from ebm_cli.datasets.io.cifar import FOLDER
from tests.image_files import CIFAR_NAMES, archive, cifar_batch, cifar_files, pickled, put_cifar


class Attack:
    """A pickle that creates a file when it is run."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def test_read_cifar10_never_runs_a_batch(tmp_path: Path):
    marker = tmp_path / "ran"
    attack = pickle.dumps({"data": Attack(marker), "labels": []}, protocol=2)
    pickle.loads(attack)
    assert marker.exists(), "the control: a plain unpickler runs it"
    marker.unlink()
    put_cifar(tmp_path, packed=False)
    (tmp_path / FOLDER / "data_batch_2").write_bytes(attack)
    message = r"holds a data_batch_2 that cannot be read: it names \S+, which is not allowed"
    with pytest.raises(ValueError, match=message):
        CIFAR10(str(tmp_path))
    assert not marker.exists()


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"labels": [1] * 8}, "without 'data'"),
        ({"data": [1] * 8, "labels": [1] * 8}, "that is not a batch of"),
        (cifar_batch(0) | {"labels": [1] * 7}, "that is not a batch of"),
        (cifar_batch(0) | {"labels": [10] * 8}, "that is not a batch of"),
        (cifar_batch(0) | {"labels": 8}, "that is not a batch of"),
        ([1, 2], "that cannot be read"),
    ],
)
def test_read_cifar10_names_a_batch_that_holds_anything_else(batch: object, message: str, tmp_path: Path):
    put_cifar(tmp_path, packed=False)
    (tmp_path / FOLDER / "test_batch").write_bytes(pickled(batch))
    with pytest.raises(ValueError, match=rf"^root \S+ holds a test_batch {message}"):
        CIFAR10(str(tmp_path))


@pytest.mark.parametrize("data", [b"", b"not a tar", archive(cifar_files())[:-2000]])
def test_read_cifar10_names_a_damaged_archive(data: bytes, tmp_path: Path):
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(data)
    with pytest.raises(ValueError, match=r"holds a cifar-10-python.tar.gz that cannot be read|holds no"):
        CIFAR10(str(tmp_path))


def test_read_cifar10_names_a_batch_missing_from_the_folder(tmp_path: Path):
    put_cifar(tmp_path, packed=False)
    (tmp_path / FOLDER / "data_batch_3").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no data_batch_3 in cifar-10-batches-py$"):
        CIFAR10(str(tmp_path))


def test_read_cifar10_names_a_batch_missing_from_the_archive(tmp_path: Path):
    files = cifar_files()
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(archive({k: files[k] for k in CIFAR_NAMES[:5]}))
    with pytest.raises(FileNotFoundError, match=r"holds no test_batch in cifar-10-python\.tar\.gz$"):
        CIFAR10(str(tmp_path))
