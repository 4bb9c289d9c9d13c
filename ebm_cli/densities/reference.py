"""The best simple density of a table's rows, which an energy bends and whose samples are the noise."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from ebm_cli.densities.base import Density
from ebm_cli.densities.bent import Bent
from ebm_cli.densities.broadened import log_mixed, mixed_differentials
from ebm_cli.densities.differentials import Differentials
from ebm_cli.densities.elliptical import EllipticalMixture
from ebm_cli.densities.flow_fit import fit_flow
from ebm_cli.densities.mixture import FittedMixture
from ebm_cli.densities.moments import Moments
from ebm_cli.densities.monotone import Chain, Monotone
from ebm_cli.densities.place import Place
from ebm_cli.densities.place_rule import PlaceRule
from ebm_cli.densities.reference_candidates import Marginals, mixture_of
from ebm_cli.densities.reference_fit import FAMILIES, fit_reference
from ebm_cli.densities.sinh_arcsinh import SinhArcsinh
from ebm_cli.densities.slope_spline import SlopeSpline
from ebm_cli.densities.state import before_loading
from ebm_cli.densities.student import StudentMixture
from ebm_cli.densities.transformed import Transformed

Family = Literal["auto", "gaussian", "mixture", "student", "flow"]

WIDE_DOF = 4.0
"""Degrees of freedom of the wide part: its tails reach farther than those of most tables."""


class Reference(Density):
    """q(x) = (1 − ε) q₀(x) + ε t₄(x; m, S): q₀ the simple density that predicts rows best, m and S the moments.

    q₀ is a Gaussian or a mixture of Gaussians or of Student's t distributions, of the rows as they are or with
    transformed marginals; `reference_fit` says how it is chosen. On request it is bent by a flow (`flow_fit`), which
    takes up to a minute more and stays only where held-out rows gain. Nothing of it is trained. It is fitted once for
    the same rows, however many parts of a run ask for it, and a state of any structure can be loaded.

    Args:
        data: reference rows [N, *shape] in standardised units. None is N(0, I), until a state is loaded.
        shape: shape of one point; needed without data only.
        family: auto (the best on rows held out), gaussian, mixture (of Gaussians) or student (mixture of t); flow
            bends the best one and needs two columns or more.
        marginals: monotone map of each coordinate: auto (those that gain on rows held out), none, sinh_arcsinh, spline.
        wide: ε, share of the wide part, in [0, 1).

    Shapes: x [B, *shape].  Cost: K · D² operations a point; for a flow that of `Bent`.

    Raises:
        ValueError: a number out of its range; a flow of one column.
    """

    structure: Tensor

    def __init__(
        self,
        data: Tensor | None = None,
        shape: tuple[int, ...] = (),
        family: Family = "auto",
        marginals: Marginals = "auto",
        wide: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= wide < 1:
            raise ValueError(f"wide must be >= 0 and < 1, got {wide}")
        self.shape = tuple(shape) if data is None else tuple(data.shape[1:])
        self.wide = wide
        if data is None:
            self.fitted: Density = FittedMixture(shape=self.shape)
        elif family == "flow":
            self.fitted = fit_flow(data, marginals)
        else:
            self.fitted = fit_reference(data, FAMILIES if family == "auto" else (family,), marginals)
        heavy = isinstance(mixture_of(self.fitted), StudentMixture)
        maps = self.marginals.maps if self.marginals is not None else []
        kinds = [any(isinstance(one, kind) for one in maps) for kind in (SinhArcsinh, SlopeSpline)]
        self.register_buffer("structure", torch.tensor([heavy, *kinds]))
        before_loading(self, _take_stored_structure)
        self.broad = StudentMixture(self.shape) if wide else None
        if self.broad is not None and data is not None:
            mean, factor = Moments.from_rows(data)
            one = torch.ones(1).to(mean)
            self.broad.set_components(one, mean.unsqueeze(0), (factor @ factor.T).unsqueeze(0), WIDE_DOF * one, data)

    @property
    def mixture(self) -> EllipticalMixture:
        """The mixture, of coordinates that `marginals` has transformed."""
        return mixture_of(self.fitted)

    @property
    def marginals(self) -> Monotone | None:
        """The transform of the coordinates; None for coordinates as they are."""
        return self.fitted.marginals if isinstance(self.fitted, Transformed) else None

    @property
    def flow(self) -> Bent | None:
        """The flow of transformed coordinates; None without one, and where it would have gained nothing."""
        inner = self.fitted.density if isinstance(self.fitted, Transformed) else self.fitted
        return inner if isinstance(inner, Bent) else None

    def locate(self, x: Tensor) -> Place:
        """The place of flat points [B, D] within the components of the simple density, with log q₀(x), that of the flow
        if there is one. Differentiable in x.
        """
        y, log_slope = (x, None) if self.marginals is None else self.marginals.forward(x)
        at = self.mixture.locate(y)
        if self.flow is not None:
            at = at._replace(log_prob=self.flow.log_prob(y))
        return at if log_slope is None else at._replace(log_prob=at.log_prob + log_slope.sum(1))

    @torch.no_grad()
    def rule(self, x: Tensor) -> PlaceRule:
        """The place of flat points [B, D] with the rule by which derivatives pass through it.

        Its log-density is that of the simple density, also where a flow bends that."""
        mixture, marginals = self.mixture, self.marginals
        if marginals is None:
            return PlaceRule(mixture, mixture.locate(x), None)
        bend = marginals.bend(x)
        at = mixture.locate(bend.value)
        return PlaceRule(mixture, at._replace(log_prob=at.log_prob + bend.log_slope.sum(1)), bend)

    def describe(self) -> str:
        """The density in words: "a mixture of 6 Student's t distributions, with transformed marginals"."""
        inner = mixture_of(self.fitted)
        n = len(inner.weights)
        heavy = isinstance(inner, StudentMixture) and not inner.dof.isinf().all()
        one, many = (
            ("a Student's t distribution", "Student's t distributions") if heavy else ("a Gaussian", "Gaussians")
        )
        words = one if n == 1 else f"a mixture of {n} {many}"
        if self.flow is not None:
            start = self.flow.start
            words = f"a flow from {'one component' if len(start.weights) == 1 else words}"
        return f"{words}, with transformed marginals" if isinstance(self.fitted, Transformed) else words

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        x = self.fitted.sample(n, rng)
        if self.broad is None:
            return x
        broad = torch.rand(n, generator=rng, device=x.device) < self.wide
        if broad.any():
            x[broad] = self.broad.sample(int(broad.sum()), rng)
        return x

    def log_prob(self, x: Tensor) -> Tensor:
        log_q = self.fitted.log_prob(x)
        return log_q if self.broad is None else log_mixed(log_q, self.broad.log_prob(x), self.wide)

    def differentials(self, x: Tensor, v: Tensor | None = None) -> Differentials:
        found = self.fitted.differentials(x, v)
        if self.broad is None:
            return found
        return mixed_differentials(found, self.broad.differentials(x, v), self.wide, v)


def _take_stored_structure(module: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    """Before a state is loaded: become a density of the structure that it stores."""
    stored = state.get(f"{prefix}structure")
    if not isinstance(module, Reference) or stored is None:
        return
    # States before splines have two numbers.
    heavy, bent, splined = (*stored.tolist(), False)[:3]
    state[f"{prefix}structure"] = stored.new_tensor([heavy, bent, splined])
    like = mixture_of(module.fitted).means
    size = like.shape[1]
    mixture: EllipticalMixture = StudentMixture(module.shape) if heavy else FittedMixture(shape=module.shape)
    maps = [SinhArcsinh(size)] * bent + [SlopeSpline(size)] * splined
    density = Bent.of_state(mixture, state, f"{prefix}fitted.{'density.' * bool(maps)}") or mixture
    found = Transformed(density, Chain(maps) if len(maps) > 1 else maps[0]) if maps else density
    module.fitted = found.to(like)
