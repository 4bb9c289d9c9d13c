"""The notebook of the tutorials, executed anew."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.support import REPO

NOTEBOOK = REPO / "docs" / "tutorials" / "notebook.ipynb"


def test_notebook_is_small_and_has_its_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert NOTEBOOK.stat().st_size < 2_000_000
    assert all(cell["outputs"] for cell in cells if cell["cell_type"] == "code")
    kinds = [output["output_type"] for cell in cells for output in cell.get("outputs", ())]
    assert "error" not in kinds
    assert [len(cell["outputs"]) for cell in cells if cell["cell_type"] == "code"] == [
        1
    ] * 6  # quiet=True prints nothing


@pytest.mark.slow
def test_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell, in a kernel of its own; it needs nbclient and ipykernel."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(REPO), os.environ.get("PYTHONPATH", ""))))
    copy = shutil.copy(NOTEBOOK, tmp_path)
    notebook = nbformat.read(copy, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    assert "fce" in notebook.cells[-1].outputs[0].text
