"""The checks of the data sets: rows that change fail, and a missing file or an unknown density is skipped."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ebm_cli.datasets import Dataset, Standardizer, Synthetic
from ebm_cli.datasets.batches import Batches
from ebm_cli.datasets.io.package_files import package_file


class Restless(Dataset):
    """Different held-out rows each time, of an unknown density; reads a file, or one of a package, if one is given."""

    def __init__(self, restless: bool = True, path: str | None = None, package: str | None = None) -> None:
        super().__init__()
        if package is not None:
            package_file(package, "rows.csv", "extra")
        if path is not None:
            Path(path).read_bytes()
        self.shape, self.density, self.standardizer = (3,), None, Standardizer.identity((3,))
        self.restless, self.calls = restless, 0

    @property
    def reference(self) -> Tensor:
        return self.held_out(10)

    def held_out(self, n: int) -> Tensor:
        self.calls += self.restless
        return torch.full((n, 3), float(self.calls), dtype=torch.float64)

    def validation(self, n: int) -> Tensor:
        return self.held_out(n)

    def batches(self, batch_size: int, rng: torch.Generator) -> Batches:
        raise NotImplementedError


def test_dataset_without_density_or_file_is_skipped(subject: Callable[..., dict[str, str]]) -> None:
    found = subject("datasets", "dataset", Restless, restless=False)
    assert found == {"held-out rows, twice": "ok", "units and back": "ok", "density": "skipped"}
    assert subject("datasets", "dataset", Restless)["held-out rows, twice"] == "FAILED"
    (only,) = subject("datasets", "dataset", Restless, path="/nowhere/rows.npy").items()
    assert "No such file or directory: '/nowhere/rows.npy'" in only[0]
    assert only[1] == "skipped"
    (only,) = subject("datasets", "dataset", Restless, package="no_such_package").items()
    assert "needs no_such_package, which is not installed: pip install 'ebm-cli[extra]'" in only[0]
    assert only[1] == "skipped"


def test_dataset_of_ten_dimensions_skips_the_quadrature(subject: Callable[..., dict[str, str]]) -> None:
    ten = {"_target_": "ebm_cli.datasets.Gaussian", "dim": 10}
    found = subject("datasets", "dataset", Synthetic, density=ten)
    assert (found["integral"], found["score"]) == ("skipped", "ok")
    assert "samples" not in found
