"""Sampling at scale: the chains of `ebm sample` in pieces, whose samples are written while the chains run.

Memory is that of one piece and of a bounded part of the draws, however many samples there are. After each piece the
state of everything that the next one depends on is stored, and chains continue from it bit for bit. The samples are
those of `chains.draw` with the same config, bit for bit, too.
"""

import hashlib
import json
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from ebm_cli.evaluation.chain_summary import acceptance, exchanges, worst_diagnostics
from ebm_cli.evaluation.draw_counts import DrawCounts
from ebm_cli.evaluation.results import Results
from ebm_cli.evaluation.values import number
from ebm_cli.evaluation.virial import virial
from ebm_cli.rng import generator
from ebm_cli.runs.annealed_starts import Starts
from ebm_cli.runs.chain_settings import n_chains
from ebm_cli.runs.chains import Bar, Drawn, Plan, Say, Settled, Show, burn_in, no_bar, prepare, quiet
from ebm_cli.runs.model import Model
from ebm_cli.samplers.pieces import Pieces
from ebm_cli.system.home import expanded

SHARD_SAMPLES, SHARD_NUMBERS = 1_000_000, 1 << 24
"""Samples of a shard, and their numbers, at most; a shard has one draw of every chain at least."""
NOT_THE_CHAINS = ("checkpoint", "which", "weights", "dataset", "trust", "strict", "threads")
"""Keys that do not say what the chains do: how a command reaches the model (its weights count), and what it expects."""


class Sink(Protocol):
    """Takes the samples, shard by shard, with the state after each."""

    def state(self) -> dict[str, Any] | None:
        """The state that was stored last; None at the beginning."""

    def write(self, x: Tensor, energy: Tensor, row: Tensor | None) -> None:
        """Take the next samples: x [N, *shape] in data units, energy [N] in nats, row [N] as in `Drawn`."""

    def save(self, state: dict[str, Any]) -> None:
        """Store the state after them: plain containers and tensors."""


def draws_of_a_shard(cfg: DictConfig, model: Model) -> int:
    """Draws of each chain in a shard: as many as `shard_samples` holds, by default at most a million samples."""
    fits = min(SHARD_SAMPLES, SHARD_NUMBERS // model.standardizer.like.numel())
    return max(1, int(fits if cfg.shard_samples is None else cfg.shard_samples) // n_chains(cfg))


def stream(cfg: DictConfig, model: Model, sink: Sink, bar: Bar = no_bar, say: Say = quiet) -> Drawn:
    """Run the chains of a validated config from where the sink has stored them, until all samples are written.

    Args:
        cfg, model, bar, say: as for `chains.draw`.
        sink: takes the samples.

    Returns:
        The draws that were kept for the diagnostics, with the results of all.
    """
    state = sink.state()
    starts = None if state is None else Starts(state["starts"], state["init"], tuple(state["notes"]))
    plan = prepare(cfg, model, say, starts)
    n_draws, size = cfg.n_samples // n_chains(cfg), draws_of_a_shard(cfg, model)
    rng = generator(cfg.seed, "chains", plan.target.starts.device)
    done = 0 if state is None else cfg.burn_in + state["pieces"]["n_kept"] * cfg.thin
    with bar(cfg.burn_in + n_draws * cfg.thin, done) as show:
        if state is None:
            running = _Running.begun(cfg, plan, burn_in(cfg, plan, rng, show), rng)
        else:
            running = _Running.begun(cfg, plan, Settled(plan.kernel, plan.target.starts, state["left"]), rng)
            running.pieces.load_state_dict(state["pieces"])
            running.counts.load_state_dict(state["counts"])
        while running.pieces.n_kept < n_draws:
            before = cfg.burn_in + running.pieces.n_kept * cfg.thin
            n = min(size, n_draws - running.pieces.n_kept)
            draws = running.pieces.advance(n, partial(_shifted, show, before))
            running.counts.add(draws)
            x, energy, row = plan.samples(cfg, model, draws)
            sink.write(x.flatten(0, 1), energy.flatten(), row)
            sink.save(running.state_dict(plan.starts))
    x, energy, row = plan.samples(cfg, model, running.counts.kept)
    return Drawn(x, energy, row, plan.said | running.results(cfg, plan), running.pieces.kernel, plan.target)


def _shifted(show: Show, before: int, n: int) -> None:
    """Show n steps of a piece that began after others."""
    show(before + n)


class _Running(NamedTuple):
    """Chains after burn-in, what is counted of their draws, and the starts that they left during burn-in or not."""

    pieces: Pieces
    counts: DrawCounts
    left: Tensor

    @classmethod
    def begun(cls, cfg: DictConfig, plan: Plan, settled: Settled, rng: torch.Generator) -> "_Running":
        pieces = Pieces(settled.kernel, plan.target.energy, settled.at, cfg.thin, rng, plan.density)
        left = settled.starts
        return cls(pieces, DrawCounts(left, cfg.n_samples // n_chains(cfg), cfg.thin), left)

    def state_dict(self, starts: Starts) -> dict[str, Any]:
        kept = {"starts": starts.x, "init": starts.init, "notes": list(starts.notes), "left": self.left}
        return kept | {"pieces": self.pieces.state_dict(), "counts": self.counts.state_dict()}

    def results(self, cfg: DictConfig, plan: Plan) -> Results:
        """As `chain_summary.chain_results`: rates and counts of all draws, the others of those that were kept."""
        pieces, kept, temperature = self.pieces, self.counts.kept, self.pieces.kernel.temperature
        n_steps = pieces.n_kept * cfg.thin
        assert pieces.total is not None
        info = pieces.total.over(n_steps)
        found = acceptance(pieces.kernel, info, kept[0, 0].numel())
        thin = cfg.thin * self.counts.every
        mixing = worst_diagnostics(kept, self.left, thin, plan.target.n_rows, plan.used)
        if pieces.kernel.evaluations(1).grad:
            found |= virial(plan.target.energy, kept, temperature, number(mixing.values, "sampler/rhat"))
        found |= exchanges(pieces.kernel, info, n_steps) | Results({"sampler/n_steps": cfg.burn_in + n_steps})
        found |= mixing | self.counts.results()
        if plan.density is not None:
            found |= Results({"sampler/jumps": float(pieces.jumps.mean()) / pieces.n_kept})
        return found


def identity(cfg: DictConfig, model: Model) -> str:
    """Hash of what the samples of a stream depend on: the keys that say what the chains do, their files, the model."""
    keys = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(keys, dict)
    kept = {str(key): value for key, value in keys.items() if key not in NOT_THE_CHAINS}
    kept["sampler"] = kept.get("sampler") or OmegaConf.to_container(model.config.sampler, resolve=True)
    found = hashlib.blake2b(json.dumps(kept, sort_keys=True, default=str).encode(), digest_size=16)
    for name in (cfg.init, cfg.mask):
        if name is not None and expanded(name).is_file():
            found.update(expanded(name).read_bytes())
    tensors = model.energy.state_dict() | {f"units/{name}": x for name, x in model.standardizer.state_dict().items()}
    for name, value in sorted(tensors.items()):
        found.update(name.encode())
        if isinstance(value, Tensor):
            found.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
