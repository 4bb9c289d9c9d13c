"""Contrastive divergence of several runs: their chains are one batch where they run in torch, and else run in turn.

Native code advances the chains of one run after the other, faster than torch advances all together; so do kernels that
have no form for several runs (`Kernel.of_runs`), and weighted chains.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ebm_cli.methods.cd import CD
from ebm_cli.methods.chains import Chains, ended
from ebm_cli.methods.replicated.base import Losses, Replicated
from ebm_cli.methods.replicated.of_energies import answered
from ebm_cli.rng import Streams
from ebm_cli.samplers import Info, run


class ReplicatedCD(Replicated[CD]):
    """L_r = mean f_r(x⁺) − mean f_r(x⁻) + …, x⁻ the ends of chains with the numbers of their run."""

    @staticmethod
    def refusal(method: CD) -> str | None:
        # It differentiates the energy in x, through a step of the chains.
        return f"method.kl={method.kl:g}" if method.kl else None

    def losses(self, x: Tensor, rngs: Sequence[torch.Generator]) -> Losses:
        for method in self.methods:
            method.adapt()
        each = list(zip(self.methods, self.energies, x, rngs, strict=True))
        chains = self._together(x, rngs)
        if chains is None:
            chains = [method.chains(energy, rows, rng) for method, energy, rows, rng in each]
        queries = [
            method.query_of(own, energy, rows, rng)
            for own, (method, energy, rows, rng) in zip(chains, each, strict=True)
        ]
        return answered(self.energy, queries)

    def _together(self, x: Tensor, rngs: Sequence[torch.Generator]) -> list[Chains] | None:
        """The chains of all runs, k steps later; None where they are to run in turn, and no number is drawn then."""
        first, model = self.methods[0], self.energies[0]
        native = model.native
        if first.is_weighted or (native is not None and native.covers(first.kernel, model, x[0])):
            return None
        kernel = first.sampler.of_runs([method.backoff.factor for method in self.methods], x.flatten(0, 1))
        if kernel is None:
            return None
        starts = [method.starts(rows, rng) for method, rows, rng in zip(self.methods, x, rngs, strict=True)]
        at = torch.cat([own.x for own in starts])
        state, info = run(kernel, self.energy, at, first.k, Streams.of(rngs))
        ends, accepted = state.x.detach().chunk(len(starts)), info.accept.chunk(len(starts))
        given = zip(self.methods, starts, ends, accepted, rngs, strict=True)
        return [ended(method.course, own, end, Info(accept), rng) for method, own, end, accept, rng in given]
