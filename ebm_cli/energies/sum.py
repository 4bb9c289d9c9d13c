"""Composition of trained energies: a product of their densities (logical and), or a mixture (logical or)."""

from collections.abc import Callable, Sequence
from typing import Literal, Self

import torch
from torch import Tensor, nn

from ebm_cli.derivatives import Differentiable, Jet, Pullback, sweep
from ebm_cli.energies.base import Energy

Member = Callable[[str], Energy]
"""Path of a run directory or checkpoint file → its energy, in the units of the run that uses it."""


class Sum(Energy, Differentiable):
    """f(x) = Σ_k w_k f_k(x), a product of experts; or f(x) = −log Σ_k w_k exp(−f_k(x)), a mixture.

    In a product a point is likely if it is likely under every member; a negative weight stands for "not", and the user
    must see to it that the sum is still integrable. In a mixture a point is likely if it is likely under one member.
    Member k has the share w_k Z_k of a mixture, where Z_k, in the units of its own run, is not known: with
    `train_weights` a method that normalises (nce, fce) learns the shares that the data have. The members are not
    trained further, and a checkpoint of the sum refers to their files, which must stay in place.

    Sources: Hinton (2002), products of experts; Du, Li & Mordatch (2020), "Compositional visual generation with energy
    based models", eq. 6 and 8.

    Args:
        shape: shape of one point.
        checkpoints: run directories or checkpoint files, two or more.
        load_member: reads one of them and returns its energy in the units of this one.
        kind: product or mixture.
        weights: w_k, one a member; > 0 in a mixture. None is 1 each.
        train_weights: whether w is trained (in a mixture its logarithm).

    Shapes: x [B, *shape] → [B].
    Raises: ValueError for fewer than two members, weights that do not fit, or members for points of another shape.
    Cost: that of all members.
    """

    weights: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        checkpoints: list[str],
        load_member: Member,
        kind: Literal["product", "mixture"] = "product",
        weights: list[float] | None = None,
        train_weights: bool = False,
    ) -> None:
        super().__init__()
        if len(checkpoints) < 2:
            raise ValueError(f"checkpoints must be two or more, got {checkpoints}")
        w = torch.ones(len(checkpoints)) if weights is None else torch.tensor(weights)
        if len(w) != len(checkpoints) or not w.isfinite().all() or (kind == "mixture" and not (w > 0).all()):
            positive = " > 0" if kind == "mixture" else ""
            raise ValueError(f"weights must be {len(checkpoints)} numbers{positive}, one a checkpoint, got {weights}")
        self.shape = tuple(shape)
        self.kind = kind
        self.members = nn.ModuleList(_freeze(load_member(path)) for path in checkpoints)
        for path, member in zip(checkpoints, self._members(), strict=True):
            if tuple(member.shape) != self.shape:
                raise ValueError(
                    f"checkpoints must be for points of shape {list(self.shape)}, got {list(member.shape)} in {path}"
                )
        self.members.eval()
        # The terms are w_k f_k, or log w_k − f_k.
        w = w.log() if kind == "mixture" else w
        if train_weights:
            self.weights = nn.Parameter(w)
        else:
            self.register_buffer("weights", w)

    def train(self, mode: bool = True) -> Self:
        """Keep the members in eval mode: training mode would change the buffers of their spectral norms."""
        super().train(mode)
        self.members.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self._combine(torch.stack([member(x) for member in self._members()]))[0]

    def sweep(self, jet: Jet) -> tuple[Jet, Pullback]:
        """Derivative rule, for a mixture with the responsibilities r_k = softmax_k(log w_k − f_k):

            ∇f = Σ_k r_k ∇f_k,   vᵀ∇²f v = Σ_k r_k vᵀ∇²f_k v − Var_r(v·∇f_k).

        A product has r_k = w_k, and no variance.
        """
        wanted = jet._replace(needs_first=jet.needs_first or self.kind == "mixture")
        jets, backs = zip(*(sweep(member, wanted) for member in self._members()), strict=True)
        value, share = self._combine(torch.stack([member.value for member in jets]))

        def pullback(g: Tensor) -> Tensor:
            return torch.stack([back(g * r) for back, r in zip(backs, share, strict=True)]).sum(0)

        if jet.first is None:
            return Jet(value), pullback
        bends = torch.stack([torch.zeros_like(value) if m.second is None else m.second for m in jets])
        second = (share * bends).sum(0)
        if not wanted.needs_first:
            return Jet(value, None, second), pullback
        slopes = torch.stack([member.first.expand(len(jet.first), len(value)) for member in jets])
        first = torch.einsum("mb,mkb->kb", share, slopes)
        if self.kind == "mixture":
            second = second - torch.einsum("mb,mkb->b", share, (slopes - first).square())
        return Jet(value, first, second), pullback

    def log_z(self) -> Tensor | None:
        """log Σ_k w_k Z_k of a mixture if the log Z of every member is known; else None."""
        shares = self._log_shares()
        return None if shares is None else shares.logsumexp(0)

    def sample(self, n: int, rng: torch.Generator) -> Tensor | None:
        """Draw a member of a mixture, by its share, then a point of it."""
        shares = self._log_shares()
        if shares is None:
            return None
        points = [x for member in self._members() if (x := member.sample(n, rng)) is not None]
        if len(points) < len(self.members):
            return None
        k = torch.multinomial(shares.detach().softmax(0), n, replacement=True, generator=rng)
        return torch.stack(points)[k, torch.arange(n, device=k.device)]

    def _members(self) -> Sequence[Energy]:
        return list(self.members)  # type: ignore[arg-type]  # torch types its lists' items as modules

    def _combine(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Combine the members' energies [K, B]: f [B], and ∂f/∂f_k [K, B]."""
        w = self.weights.unsqueeze(1)
        if self.kind == "product":
            return (w * values).sum(0), w.expand_as(values)
        terms = w - values
        return -terms.logsumexp(0), terms.softmax(0)

    def _log_shares(self) -> Tensor | None:
        """log w_k + log Z_k [K]."""
        if self.kind == "product":
            return None
        known = [log_z for member in self._members() if (log_z := member.log_z()) is not None]
        if len(known) < len(self.members):
            return None
        return self.weights + torch.stack(known)


def _freeze(energy: Energy) -> Energy:
    """Turn the parameters into buffers of the same names, which are neither trained nor averaged."""
    for module in energy.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, parameter.detach())
    return energy
