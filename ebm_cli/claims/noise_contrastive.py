"""The claim that the error of noise contrastive estimation on a Gaussian is that of its theory.

With n data rows and ν n noise rows that are drawn once, the estimate of all parameters, log Z among them, is normal
with covariance Σ/n,

    Σ = I⁻¹ − (1 + 1/ν) I⁻¹ b bᵀ I⁻¹,     I = E_p[P g gᵀ],  b = E_p[P g],  P = ν q / (p + ν q),

with g the gradient of log p_θ in the parameters. Source: Gutmann & Hyvärinen (2012), JMLR 13, Theorem 3. The component
of g for log Z is constant, so that I⁻¹ b is its unit vector, and the other parameters have the covariance I⁻¹ alone.

For p = N(m, S), whose mean and precision are trained, and a noise q fitted to the data, N(m, w² S), this is the problem
of p = N(0, I) and q = N(0, w² I) in other coordinates, and P depends on t = ‖x‖² ~ χ²_D alone. In the measured error,
E_p(log p − log p_θ)², the parameters separate into three blocks,

    n · error → D/a₁ + (D + 2)(D − 1)/(2 a₂) + (J⁻¹)₁₁,      a₁ = E[P t]/D,   a₂ = E[P t²]/(D (D + 2)),

which are the mean, the traceless part of the precision, and the trace together with log Z: J = E[P (u, 1)(u, 1)ᵀ],
u = (t − D)/√(2D). If q = p this is (1 + 1/ν) · D (D + 3)/2, the number of parameters times (1 + 1/ν); for ν → ∞ it is
the error of maximum likelihood. The limit holds although q is fitted to the same data: the true density solves the
estimating equations for any q.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from ebm_cli.claims.base import (
    Claim,
    RunGroup,
    Verdict,
    Where,
    group_runs,
    join_parts,
    require_selection,
    result_values,
)
from ebm_cli.runs.record import Record

ERROR = "eval/log_density_mse"
"""Key of the measured error."""
NODES = 80
"""Nodes of the Gauss–Laguerre rule."""


@final
@dataclass(frozen=True)
class NoiseContrastiveError(Claim):
    """The mean over runs of n · E_p(log p − log p_θ)², divided by its limit, is 1 within a tolerance.

    For runs of `method=nce method.redraw=false noise=gaussian energy=quadratic dataset=gaussian` that take all
    `dataset.n_train` rows in each step; the limit is computed for the D, ν and w (`noise.widen`) of each run.

    Args:
        within: largest distance of the mean from 1, > 0.
        where: selects the runs; None selects all.
        source: origin of the limit, for the reader.
    """

    within: float
    where: Where | None = None
    source: str = ""

    def __post_init__(self) -> None:
        if self.within <= 0:
            raise ValueError(f"within must be > 0, got {self.within}")
        require_selection(where=self.where)

    def judge(self, runs: Sequence[Record]) -> list[Verdict]:
        return [self._judge_group(group) for group in group_runs(runs, self.where or {})]

    def _judge_group(self, group: RunGroup) -> Verdict:
        about = join_parts(group.label, f"n · {ERROR}")
        if not group.runs:
            return Verdict(None, f"{about}: not run")
        try:
            errors, limits = result_values(group.runs, ERROR), [limit_of_run(run) for run in group.runs]
        except LookupError as missing:
            return Verdict(False, f"{about}: {missing.args[0]}")
        scaled = [run.get("dataset.n_train") * error for run, error in zip(group.runs, errors, strict=True)]
        ratios = np.array(scaled) / np.array(limits)
        ratio, se = float(ratios.mean()), float(ratios.std(ddof=1)) / math.sqrt(len(ratios)) if len(ratios) > 1 else 0.0
        passed = abs(ratio - 1) <= self.within
        found = (
            f"{sum(scaled) / len(scaled):.2f}, in theory {sum(limits) / len(limits):.2f}: ratio {ratio:.3f} ± {se:.3f}"
        )
        bound = f"of {len(ratios)} runs, {'' if passed else 'not '}within {self.within:g}"
        return Verdict(passed, join_parts(about, found, bound, source=self.source))


def limit_of_run(run: Record) -> float:
    """The limit for the D, ν and w of a run.

    Raises:
        LookupError: the theory does not apply to the run; the message says why.
    """
    needed: dict[str, Any] = {"method": "nce", "noise": "gaussian", "energy": "quadratic", "dataset": "gaussian"}
    needed |= {"method.redraw": False, "dataset.noise_std": 0}
    for key, value in needed.items():
        if run.get(key) != value:
            raise LookupError(f"{run.path.name} has {key}={run.get(key)}, and the theory needs {value}")
    if run.get("batch_size") < run.get("dataset.n_train"):
        raise LookupError(f"{run.path.name} takes {run.get('batch_size')} rows a step, and the theory needs all")
    return error_limit(run.get("dataset.density.dim"), run.get("method.nu"), run.get("noise.widen"))


def error_limit(dim: int, nu: float, widen: float) -> float:
    """lim n · E_p(log p − log p_θ)²; the docstring of the module has the derivation.

    Args:
        dim: D ≥ 2.
        nu: ν > 0, noise rows for each data row.
        widen: w > 0, ratio of the standard deviations of the noise to those of the data.

    Cost: a Gauss–Laguerre rule of 80 nodes.
    """
    # The import takes a quarter of a second, which a run without this claim saves.
    from scipy.special import expit, roots_genlaguerre

    half_t, weight = roots_genlaguerre(NODES, 0.5 * dim - 1)
    t, weight = 2 * half_t, weight / weight.sum()
    p = expit(math.log(nu) - dim * math.log(widen) + 0.5 * t * (1 - widen**-2))
    a1 = weight @ (p * t) / dim
    a2 = weight @ (p * t * t) / (dim * (dim + 2))
    u = np.stack([(t - dim) / math.sqrt(2 * dim), np.ones_like(t)])
    trace = np.linalg.inv((weight * p * u) @ u.T)[0, 0]
    return float(dim / a1 + (dim + 2) * (dim - 1) / (2 * a2) + trace)
