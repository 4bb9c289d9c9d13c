"""Pickles of plain containers and bytes, read without running them."""

import io
import pickle
import pickletools
import re

import numpy as np
import pytest

from ebm_cli.datasets.io.safe_pickle import read_dict
from tests.image_files import cifar_batch, cifar_files, pickled


@pytest.mark.parametrize(
    "name", ["os.system", "builtins.eval", "builtins.getattr", "numpy.load", "numpy.core.multiarray.fromfile"]
)
def test_read_dict_refuses_every_other_name(name: str):
    module, _, function = name.rpartition(".")
    with pytest.raises(ValueError, match=f"^it names {re.escape(name)}, which is not allowed$"):
        read_dict(f"c{module}\n{function}\n.".encode())


@pytest.mark.parametrize("program", [b"cnumpy\nndarray\n(I9\ntR.", b"Pelsewhere\n.", b"(lp0\n.", b"garbage", b""])
def test_read_dict_refuses_calls_and_anything_but_a_dict(program: bytes):
    with pytest.raises(ValueError, match=r"^.+$"):
        read_dict(program)


def test_read_dict_reads_pickles_of_python_2_and_of_numpy():
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    for data in (pickled(cifar_batch(3, 2)), pickle.dumps({"labels": [3, 4], "data": array}, protocol=3)):
        found = read_dict(data)
        assert found["labels"] == [3, 4]
        assert found["data"].dtype == np.uint8
    assert np.array_equal(found["data"], array)
    assert read_dict(pickled({"name": "x"})) == {"name": b"x"}


@pytest.mark.parametrize(
    "array",
    [np.ones((2, 2)), np.asfortranarray(np.ones((2, 3), np.uint8)), np.array([object()])],
    ids=["floats", "columns first", "objects"],
)
def test_read_dict_refuses_arrays_of_anything_but_bytes(array: np.ndarray):
    with pytest.raises(ValueError, match=r"array that does not hold bytes|names"):
        read_dict(pickle.dumps({"data": array}, protocol=3))


def test_test_batches_are_pickles_of_python_2():
    """The control of this file: no opcode that Python 2 did not have, as in the published batches."""
    names = {op.name for op, _, _ in pickletools.genops(io.BytesIO(cifar_files()["test_batch"]))}
    assert {"BINSTRING", "GLOBAL", "REDUCE", "BUILD"} <= names
    assert not names & {"BINUNICODE", "BINBYTES", "SHORT_BINBYTES", "FRAME"}
