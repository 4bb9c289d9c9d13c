"""A table of known density: what training sees of it is what it sees of a file."""

from typing import Literal, TypeGuard, final

import torch
from torch import Tensor

from ebm_cli.datasets.base import BLOCK
from ebm_cli.datasets.finite import Finite, Standardize
from ebm_cli.datasets.split import split
from ebm_cli.datasets.table_suite.members import MEMBERS
from ebm_cli.datasets.target import Target
from ebm_cli.rng import generator

Name = Literal[
    "skewed_modes",
    "spike",
    "counts",
    "spiral_arm",
    "laplace_grid",
    "shell",
    "returns",
    "soft_funnel",
    "skewed_chain",
    "clusters",
    "curved_clusters",
    "correlated",
    "factors",
]
N_TRUTH = 500_000
"""Rows of the truth from which tails are counted: 500 of them lie beyond a quantile of 0.1 %."""


def is_name(name: str) -> TypeGuard[Name]:
    """True if the suite has a table of this name."""
    return name in MEMBERS


@final
class TableSuite(Finite):
    """Rows of a density of the suite, split as a file's are: 70 % train, 10 % validate, the other 20 % are not used.

        skewed_modes    1 column     3,000 rows   three modes, skewed and with tails
        spike           2 columns  100,000 rows   6 % of the mass in a narrow spike
        counts          2 columns    4,000 rows   whole numbers with Gaussian noise, and a skewed column
        spiral_arm      2 columns   10,000 rows   a curve whose noise varies
        laplace_grid    2 columns    6,000 rows   nine modes of weights 0.02 to 0.24
        shell           3 columns   20,000 rows   a thick, tilted shell
        returns         4 columns   15,000 rows   heavy tails, and scales that depend on other columns
        soft_funnel     5 columns   10,000 rows   one column scales the others
        skewed_chain    6 columns   25,000 rows   curved regressions with skewed noise, two positive columns
        clusters        8 columns   10,000 rows   five Gaussians (the family of a baseline)
        curved_clusters 12 columns  30,000 rows   three bent modes
        correlated      15 columns   1,000 rows   one Gaussian (the family of a baseline)
        factors         20 columns  50,000 rows   three columns drive seventeen others

    The evaluation draws fresh rows and knows the density; training and what monitors it see the rows alone.

    Args:
        name: of the density.
        n_rows: rows of the table, ≥ 10; None takes the number above.
        standardize: zero mean and unit scale per column, fitted on the training rows; "robust": by median and quartiles
            (see `Finite`); false: the identity.
        seed: of the rows, their split and the fresh rows, ≥ 0.

    Shapes: x [B, D].

    Raises:
        ValueError: an unknown name, or a number out of its range.
    """

    density: Target

    def __init__(
        self,
        name: Name = "skewed_modes",
        n_rows: int | None = None,
        standardize: Standardize = True,
        seed: int = 0,
    ) -> None:
        if not is_name(name):
            raise ValueError(f"name must be one of {', '.join(MEMBERS)}, got {name}")
        if n_rows is not None and n_rows < 10:
            raise ValueError(f"n_rows must be >= 10 or null, got {n_rows}")
        if seed < 0:
            raise ValueError(f"seed must be >= 0, got {seed}")
        member = MEMBERS[name]
        n = n_rows or member.n_rows
        density = member.build()
        rows = density.sample(n, generator(seed, f"table_suite/{name}", torch.device("cpu"), prefix=""))
        super().__init__(rows, split(n, 0.1, 0.2, None, seed), standardize=standardize, seed=seed)
        self.density = density
        self.is_baselines = member.is_baselines

    @property
    def is_table(self) -> bool:
        return True

    def held_out(self, n: int) -> Tensor:
        """The first n fresh rows of the density [n, D], data units: of any number."""
        return self._fresh("held_out", n)

    def truth(self) -> Tensor:
        """A large fixed sample of the density [N_TRUTH, D], data units."""
        return self._fresh("truth", N_TRUTH)

    def _fresh(self, name: str, n: int) -> Tensor:
        rng = generator(self.seed, f"table_suite/{name}", self.density.origin.device, prefix="")
        return torch.cat([self.density.sample(BLOCK, rng) for _ in range(-(-n // BLOCK))])[:n]
