"""The simple densities that a model has to beat, and by how much the better of them beats it.

Both are fitted to the training rows in seconds: a Gaussian, and for tables a mixture of Gaussians whose number of
components is chosen by BIC. A model is worse than one only beyond the noise of the comparison, which is paired row by
row, and beyond a hundredth of a nat a dimension: what no one would notice.
"""

from typing import NamedTuple

from ebm_cli.evaluation.values import Values, format_value, number

MIXTURE = "eval/nll_vs_mixture"
NAMES = {"eval/nll_vs_gaussian": "the fitted Gaussian", MIXTURE: "a mixture of Gaussians"}
"""Key of the difference in NLL → the density."""
NEGLIGIBLE = 0.01
"""Nats: below, two densities describe rows equally well; to be worse, this much a dimension."""
CURE = "energy=tilted starts at the best such density, and patience=5 evaluates the best step"


class Excess(NamedTuple):
    """NLL of the model minus that of the better of the simple densities, nats a row.

    Attributes:
        key: of the difference in the results.
        nats: positive where the simple density is better.
        error: paired standard error; 0 for an integral.
        is_table: whether the model was compared with a mixture, too.
    """

    key: str
    nats: float
    error: float
    is_table: bool = False

    @property
    def name(self) -> str:
        """The simple density, in words."""
        return NAMES[self.key]

    @property
    def size(self) -> str:
        """The absolute difference with its error, in words."""
        return f"{format_value(abs(self.nats))}{f' ± {format_value(self.error)}' if self.error else ''} nats a row"

    def is_beyond_noise(self, n_dims: int = 1) -> bool:
        """True if the model is worse by more than two standard errors and 0.01 nats a dimension."""
        return self.nats > max(NEGLIGIBLE * n_dims, 2 * self.error)

    def compared(self) -> str:
        """A clause: better, as good as, or less likely than the density."""
        if self.nats < -max(NEGLIGIBLE, 2 * self.error):
            return f"{format_value(-self.nats)} ± {self.error:.2g} nats a row better than {self.name}"
        return f"less likely than under {self.name}" if self.is_beyond_noise() else f"as good as {self.name}"

    def worse(self) -> str:
        """A clause for a model that is worse, with what to try on a table."""
        cure = f" ({CURE})" if self.is_table else ""
        return f"worse than {self.name} on held-out rows, by {self.size}{cure}"


def better_baseline(values: Values) -> Excess | None:
    """The comparison with the better of the simple densities that the results have; None if they have none."""
    found = [
        Excess(key, nats, number(values, f"{key}_se") or 0.0, number(values, MIXTURE) is not None)
        for key in NAMES
        if (nats := number(values, key)) is not None
    ]
    return max(found, key=lambda excess: excess.nats, default=None)
