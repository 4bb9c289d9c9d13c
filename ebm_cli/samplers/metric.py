"""Metrics: the scales of the target, measured in burn-in, so that one step size suits every direction.

With a factor C = L Lᵀ of the target's covariance, the target has about unit scales in y = L⁻¹x, where its energy is
E(L y) and its gradient Lᵀ∇E. A kernel that moves y has proposals x' = x + L(y' − y); its Metropolis ratio is that of y,
since a linear map changes no ratio of densities. For Hamiltonian dynamics this is the mass matrix C⁻¹.

    diagonal: L = diag(s),  s_i² = n/(n + 5) Var x_i + 5/(n + 5) · 10⁻³
    full:     L Lᵀ = (1 − a) Cov x + a diag(s²),  a = (D/(n + D))²

from n draws. The first shrinks towards a small scale, for a short burn-in, the second towards the diagonal, for draws
that are fewer than the dimensions.

Sources: Girolami & Calderhead (2011), JRSS B 73(2), section 5, with a constant metric; the diagonal's shrinkage is that
of Stan (Carpenter et al. 2017, J. Stat. Softw. 76(1)).
"""

from abc import ABC
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor

from ebm_cli.samplers.base import Kernel

Choice = Literal["none", "diagonal", "full"]
SMALL, PRIOR_DRAWS = 1e-3, 5
"""Variance that the diagonal is shrunk to, in squared standardised units, and the draws that it counts for."""


WINDOWS = 8, 8, 4
"""A window of burn-in in which scales are measured is one in so many steps."""
LEAST_BURN_IN = 80
"""Steps of a burn-in that measures a metric, at least: five of them measure in the first window."""


class Metric:
    """A factor L of the covariance, from unit scales to the target's.

    Args:
        factor: standard deviations [D], or a matrix [D, D].
    """

    def __init__(self, factor: Tensor) -> None:
        self.factor = factor

    def to_target(self, v: Tensor) -> Tensor:
        """L v of each row: [B, *D] → [B, *D]."""
        if self.factor.dim() == 1:
            return v * self.factor.view(v.shape[1:])
        return (v.flatten(1) @ self.factor.T).view(v.shape)

    def to_unit(self, grad: Tensor) -> Tensor:
        """Lᵀ g of each row: [B, *D] → [B, *D]."""
        if self.factor.dim() == 1:
            return grad * self.factor.view(grad.shape[1:])
        return (grad.flatten(1) @ self.factor).view(grad.shape)


class ScaleOfChains(Metric):
    """A multiple of the identity for each chain: L = c_i I.

    Args:
        factor: c > 0 of each chain [B].
    """

    def to_target(self, v: Tensor) -> Tensor:
        """c v of each row."""
        return v * self.factor.view(-1, *(1,) * (v.dim() - 1))

    def to_unit(self, grad: Tensor) -> Tensor:
        """c g of each row."""
        return self.to_target(grad)


@dataclass(frozen=True)
class Preconditioned(Kernel, ABC):
    """A kernel whose step is taken in the coordinates of a metric.

    Args:
        metric: what burn-in measures (`adapt`), or a metric that has been measured. Until then, and for "none", the
            coordinates are those of x.

    Raises:
        ValueError: metric is an unknown word.
    """

    metric: Choice | Metric = field(default="none", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.metric, Metric) and self.metric not in get_args(Choice):
            raise ValueError(f"metric must be one of {', '.join(get_args(Choice))}, got {self.metric!r}")

    @property
    def wanted(self) -> Choice:
        """The kind of metric that burn-in has yet to measure; "none" where there is nothing to measure."""
        return "none" if isinstance(self.metric, Metric) else self.metric

    def to_target(self, v: Tensor) -> Tensor:
        """A displacement in the metric's coordinates as one of x: [B, *D] → [B, *D]."""
        return self.metric.to_target(v) if isinstance(self.metric, Metric) else v

    def to_unit(self, grad: Tensor) -> Tensor:
        """The gradient in x as that in the metric's coordinates: [B, *D] → [B, *D]."""
        return self.metric.to_unit(grad) if isinstance(self.metric, Metric) else grad


def wants_metric(kernel: Kernel) -> bool:
    """Return whether the kernel has a metric that burn-in has yet to measure."""
    return isinstance(kernel, Preconditioned) and kernel.wanted != "none"


def why_not_measured(kernel: Kernel, burn_in: int) -> str | None:
    """Why a burn-in of so many steps cannot measure the metric that the kernel asks for; None where it can."""
    if not wants_metric(kernel) or burn_in >= LEAST_BURN_IN:
        return None
    return f"metric is measured in burn-in, which must be >= {LEAST_BURN_IN}, got {burn_in}; 1000 are usual"


class Moments:
    """Mean and covariance of draws that come in batches; one pass, no draw is kept.

    Source: Chan, Golub & LeVeque (1983), Am. Stat. 37(3), eq. (2.1).

    Args:
        kind: of the metric, "diagonal" or "full".
    """

    def __init__(self, kind: Choice) -> None:
        self.kind = kind
        self.n = 0
        self.mean = self.scatter = torch.zeros(())

    def add(self, x: Tensor) -> None:
        """Add draws [B, *D]."""
        x = x.flatten(1)
        mean = x.mean(0)
        centred, n = x - mean, len(x)
        scatter = centred.square().sum(0) if self.kind == "diagonal" else centred.T @ centred
        if self.n == 0:
            self.n, self.mean, self.scatter = n, mean, scatter
            return
        shift, total = mean - self.mean, self.n + n
        between = shift.square() if self.kind == "diagonal" else torch.outer(shift, shift)
        self.scatter = self.scatter + scatter + between * (self.n * n / total)
        self.mean = self.mean + shift * (n / total)
        self.n = total

    def metric(self) -> Metric | None:
        """The shrunken metric of the draws; None of too few, and where they are not finite.  Waits for the device."""
        if self.n < 2 or not bool(self.scatter.isfinite().all()):
            return None
        n, cov = self.n, self.scatter / (self.n - 1)
        variance = cov if self.kind == "diagonal" else cov.diagonal()
        variance = (n * variance + PRIOR_DRAWS * SMALL) / (n + PRIOR_DRAWS)
        if self.kind == "diagonal":
            return Metric(variance.sqrt())
        share = (len(variance) / (n + len(variance))) ** 2
        factor, failed = torch.linalg.cholesky_ex((1 - share) * cov + share * variance.diag())
        return None if int(failed) else Metric(factor)
