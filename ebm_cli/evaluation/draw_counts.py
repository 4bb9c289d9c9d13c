"""Draws that are not kept: counts over all of them, and every k-th for the diagnostics.

R̂ and ESS need ranks among all draws, which a stream of them has not in memory. They are those of every k-th draw of
each chain, which are draws of the same chains: R̂ is as valid, and the ESS of a part is at most that of the whole.

Source: MacEachern & Berliner (1994), Am. Stat. 48(3): a mean over every k-th draw has no smaller variance than that
over all.
"""

from typing import Any

import torch
from torch import Tensor

from ebm_cli.evaluation.chain_summary import MANY_STEPS, non_finite
from ebm_cli.evaluation.results import Results

MOST_NUMBERS = 1 << 22
"""Numbers of the draws that are kept for the diagnostics."""
FEWEST_DRAWS = 16
"""Draws a chain that are kept at least, however large they are."""


class DrawCounts:
    """Counts over draws that come in pieces, and every k-th of them.

    Args:
        starts: where the chains stood before the first draw [n_chains, *D].
        n_draws: of each chain in all, ≥ 1.
        thin: transitions from one draw to the next.
        most: numbers that are kept, as far as `FEWEST_DRAWS` allow.

    Memory: the kept draws, and one draw of all chains.
    """

    def __init__(self, starts: Tensor, n_draws: int, thin: int, most: int = MOST_NUMBERS) -> None:
        self.starts, self.n_draws, self.thin = starts, n_draws, thin
        self.every = max(1, -(-n_draws // max(FEWEST_DRAWS, most // starts.numel())))
        self.n = self.n_broken = 0
        self._kept: list[Tensor] = []
        self._first: Tensor | None = None
        self._differ = torch.zeros(len(starts), dtype=torch.bool, device=starts.device)

    def add(self, draws: Tensor) -> None:
        """Count the next draws [n, n_chains, *D]."""
        if self._first is None:
            self._first = draws[0].clone()
        self.n_broken += int(non_finite(draws).sum())
        self._differ |= (draws != self._first).flatten(2).any(2).any(0)
        # The draws with the numbers every − 1, 2 every − 1, … among all.
        self._kept.append(draws[(-self.n - 1) % self.every :: self.every].clone())
        self.n += len(draws)

    @property
    def kept(self) -> Tensor:
        """Every k-th draw [n_draws // k, n_chains, *D]."""
        return torch.cat(self._kept)

    def results(self) -> Results:
        """`sampler/never_moved`, `sampler/non_finite` and `sampler/n_draws` of all draws; a note on the kept ones."""
        never = ~self._differ
        if self._first is not None and self.thin * (self.n - 1) < MANY_STEPS:
            never &= (self._first == self.starts).flatten(1).all(1)
        n_chains = len(self.starts)
        n_kept = sum(map(len, self._kept))
        note = (
            f"R-hat, ESS and the table are of every {self.every}th draw of each chain, {n_kept * n_chains:,} in all: "
            "the ESS of all samples is at least that."
        )
        return Results(
            {
                "sampler/never_moved": int(never.sum()),
                "sampler/non_finite": self.n_broken,
                "sampler/n_draws": self.n * n_chains,
            },
            notes=() if self.every == 1 else (note,),
        )

    def state_dict(self) -> dict[str, Any]:
        """The counts and the kept draws."""
        counts = {"n": self.n, "n_broken": self.n_broken, "first": self._first, "differ": self._differ}
        return counts | {"kept": self.kept if self._kept else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken, of draws with the same arguments."""
        self.n, self.n_broken, self._first = state["n"], state["n_broken"], state["first"]
        self._differ = state["differ"]
        self._kept = [] if state["kept"] is None else [state["kept"]]
