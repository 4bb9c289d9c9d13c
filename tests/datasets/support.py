"""Helpers of the tests of data sets: rows as sets, files of every kind, statistics of samples in the plane."""

import math
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from torch import Tensor

from ebm_cli.config.build import build
from ebm_cli.datasets import Batches, Dataset, Target
from ebm_cli.datasets.io.contents import FileRows, Reading, reading
from ebm_cli.datasets.io.row_files import read_rows
from tests.support import REPO, seeded

CONF = REPO / "conf" / "dataset"
ROWS = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
"""Rows [50, 3] of a user's file."""


def rows_of(x: Tensor) -> set[tuple[float, ...]]:
    """The rows of x as a set, without their order."""
    return {tuple(row) for row in x.flatten(1).tolist()}


def take(stream: Batches, n_batches: int) -> Tensor:
    """The rows of the next batches [n_batches · B, *shape]."""
    return torch.cat([stream.next() for _ in range(n_batches)])


def write(folder: Path, name: str, content: object) -> str:
    """Write a file in the format that its suffix and the type of its content name; its path."""
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


def assert_refused(folder: Path, name: str, content: object, message: str) -> None:
    """A file with this content is refused in one line that begins with its path."""
    path = write(folder, name, content)
    with pytest.raises(ValueError, match=rf"^path \S+{name} ({message})") as caught:
        read_rows(path)
    assert "\n" not in str(caught.value)


def shipped_dataset(name: str, **keys: object) -> Dataset:
    """The data set of an option of conf/dataset, with other values for some of its keys."""
    cfg = OmegaConf.merge(OmegaConf.load(CONF / f"{name}.yaml"), keys)
    built = build(cfg, "dataset", Dataset, trust=None)
    assert isinstance(built, Dataset)
    return built


def shipped_target(name: str) -> Target:
    """The density of an option of conf/dataset."""
    density = shipped_dataset(name).density
    assert isinstance(density, Target)
    return density


def grid(density: Target, n: int = 192) -> tuple[Tensor, Tensor]:
    """Points [M, 2] and the logarithm of the area [M] that each stands for, over all that carries mass.

    A smooth density that vanishes at the border is summed exactly, to rounding, by a grid finer than its finest length.
    """
    if "Funnel" in f"{type(density).__name__} {type(getattr(density, 'target', None)).__name__}":
        # Its width varies from e⁻⁴ to e⁴: x₂ = e^{v/2} z, dx₂ = e^{v/2} dz.
        n = 2 * n
        v = torch.linspace(-9.0, 9.0, n)
        z = torch.linspace(-9.0, 9.0, n)
        vz = torch.cartesian_prod(v, z)
        log_area = vz[:, 0] / 2 + 2 * math.log(18.0 / (n - 1))
        return torch.stack([vz[:, 0], (vz[:, 0] / 2).exp() * vz[:, 1]], dim=1), log_area
    x = density.sample(20_000, seeded(7))
    margin = x.std(dim=0)
    low, high = x.amin(0) - margin, x.amax(0) + margin
    points = torch.cartesian_prod(*[torch.linspace(float(a), float(b), n) for a, b in zip(low, high, strict=True)])
    return points, ((high - low) / (n - 1)).log().sum().expand(len(points))


def excess_chi_square(x: Tensor, density: Target) -> float:
    """(χ² − k) / √(2k) of counts over k cells and the rest against the density's masses: about N(0, 1) if they agree.

    The cells are 24 × 24 over nearly all of x, each a sum over 15 × 15 midpoints.
    """
    low, high = torch.quantile(x, 0.002, dim=0), torch.quantile(x, 0.998, dim=0)
    cell = (high - low) / 24
    middles = [low[d] + cell[d] / 15 * (torch.arange(24 * 15) + 0.5) for d in range(2)]
    p = density.log_prob(torch.cartesian_prod(*middles)).exp() * (cell / 15).prod()
    expected = len(x) * p.view(24, 15, 24, 15).sum((1, 3)).flatten()
    index = ((x - low) / cell).floor().long()
    index = index[((index >= 0) & (index < 24)).all(1)]
    observed = torch.bincount(24 * index[:, 0] + index[:, 1], minlength=24 * 24)
    kept = expected > 20
    observed = torch.cat([observed[kept], (len(x) - observed[kept].sum())[None]])
    expected = torch.cat([expected[kept], (len(x) - expected[kept].sum())[None]])
    k = int(kept.sum())
    return float((((observed - expected) ** 2 / expected).sum() - k) / math.sqrt(2 * k))


def read_text(folder: Path, content: str | bytes, name: str = "x.csv", **keys: Any) -> FileRows:
    """Read a table of this content."""
    data = content if isinstance(content, bytes) else content.encode()
    (folder / name).write_bytes(data)
    return read_rows(str(folder / name), Reading(**keys))


def refusal(path: str, **keys: Any) -> str:
    """The message by which a file is refused."""
    with pytest.raises(ValueError, match=r"^path ") as caught:
        read_rows(path, Reading(**keys))
    return str(caught.value)


def cured(said: str, n: int = 0) -> FileRows:
    """The rows of the copy that the command of a message, its n-th, writes, read with the keys that follow it."""
    found = re.findall(r": (python -c .*?) and (dataset\.path=.*?)(?=; or with|$)", said)
    assert len(found) > n, said
    _, _, code = shlex.split(found[n][0])
    exec(code, {})
    keys = pasted(found[n][1])
    return read_rows(keys.pop("path"), reading(keys))


def pasted(words: str) -> dict[str, Any]:
    """Keys of a data set, typed as they are in a message."""
    parser = OverridesParser.create()
    parsed = [parser.parse_override(word) for word in shlex.split(words)]
    return {str(one.key_or_group).removeprefix("dataset."): one.value() for one in parsed}
