"""Walkers with weights: chains that follow a changing energy, and whose weights undo that they lag behind it.

Persistent chains have the distribution of the model only if they mix faster than it changes; between separate modes
they do not, and the masses of the modes are lost. Weights mend it. A walker x with a log-weight A stands for exp(A) at
x, and E[Σ exp(A) g(x)] = N ∫ exp(−f/T) g is kept by all that happens to it:

    it is drawn from a density q               A = −log q(x) − f(x)/T
    the energy changes from f to f′            A ← A + (f(x) − f′(x))/T
    a step that leaves exp(−f/T) invariant     A ← A
    a Langevin step x → y of any size ε        A ← A + (α(x, y) − α(y, x))/T,
                                               α(x, y) = f(x) + ½ (y − x)·∇f(x) + ¼ ε‖∇f(x)‖²
    resampling by the weights (`resampling`)   A ← log mean exp(A)

so that the model's mean of g is Σ exp(A) g(x) / Σ exp(A), and mean exp(A) is Z. The third line from below is exact for
every ε: the discretisation is weighted away, too. Nothing here waits for the device.

The energy is trained against its walkers, and pushed up where they happen to be. Their own mean weight is therefore
biased low, by about (learning rate) · (parameters of a mode)/N a step, and no spread of the weights shows it; log Z
is read from `Witnesses`, which the gradient does not use. The bias is the same in every mode, and leaves their masses
right, if walkers are where the weight is and the step is that of the gradient, as plain descent takes it: Adam's steps
are as long in a small mode as in a large one.

Sources: Carbone, Hua, Coste & Vanden-Eijnden (2023), "Efficient training of energy-based models using Jarzynski
equality", eq. 10–12 and algorithm 1; Neal (2001), annealed importance sampling.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ebm_cli.densities import Density
from ebm_cli.derivatives import value_and_grad
from ebm_cli.energies import Energy, evaluating
from ebm_cli.methods.base import Evaluations, Symptom
from ebm_cli.methods.resampling import Pool, log_mean, pooled
from ebm_cli.samplers import Info, Kernel, run, select_chains
from ebm_cli.samplers.base import Cost, inner, normal_like
from ebm_cli.samplers.langevin import Langevin
from ebm_cli.system.ranks import ONE, Ranks

LOST = 1e30
"""Minus the log-weight of a walker without weight."""
COLLAPSED = Symptom(
    "weights_ess",
    0.02,
    "almost all weight is on a few of the walkers, and the gradient is that of a few points",
    "lower optimizer.lr, raise method.k or batch_size, and set method.restart=0 in many dimensions",
    below=True,
    steps=200,
)


class Walkers(NamedTuple):
    """Weighted points.

    Attributes:
        x: [B, *D].
        log_weight: A [B], nats, for the energy whose value is `energy`.
        energy: f(x) [B], nats; 0 for a fresh walker, whose A is −log q(x).
    """

    x: Tensor
    log_weight: Tensor
    energy: Tensor


def fresh(noise: Density, n: int, rng: torch.Generator) -> Walkers:
    """Draw n walkers of a density q; the first `reweighted` gives them the weight exp(−f/T)/q."""
    with torch.no_grad():
        x, log_q = noise.sample_with_log_prob(n, rng)
        return Walkers(x, -log_q, torch.zeros_like(log_q))


def reweighted(energy: Energy, walkers: Walkers, temperature: float = 1.0) -> Walkers:
    """Weigh the walkers for the present energy. Cost: one energy a walker."""
    with torch.no_grad():
        now = energy(walkers.x)
    return walkers._replace(log_weight=walkers.log_weight + (walkers.energy - now) / temperature, energy=now)


def moved(kernel: Kernel, energy: Energy, walkers: Walkers, k: int, rng: torch.Generator) -> tuple[Walkers, Info]:
    """Take k steps with walkers that are weighted for this energy.

    Args:
        kernel: a Langevin kernel without clamps, or one with an acceptance test.
        energy: f, of which the steps evaluate the gradient.
        walkers: weighted for it.
        k: ≥ 1.
        rng: source of every draw.

    Cost: k + 1 gradients for Langevin, else those of the kernel.
    """
    if not isinstance(kernel, Langevin):
        state, info = run(kernel, energy, walkers.x, k, rng)
        with torch.no_grad():
            end = energy(state.x) if state.energy is None else state.energy
        return Walkers(state.x.detach(), walkers.log_weight, end), info
    x, log_weight = walkers.x, walkers.log_weight
    eps, temperature = kernel.step_size, kernel.temperature
    value, grad = value_and_grad(energy, x)
    for _ in range(k):
        step = math.sqrt(2 * eps * temperature) * normal_like(x, rng) - eps * grad
        y = x + step
        new_value, new_grad = value_and_grad(energy, y)
        # α(x, y) − α(y, x)
        gain = value - new_value + 0.5 * inner(step, grad + new_grad)
        gain = gain + 0.25 * eps * (inner(grad, grad) - inner(new_grad, new_grad))
        log_weight = log_weight + gain / temperature
        x, value, grad = y, new_value, new_grad
    return Walkers(x, log_weight, value), Info(torch.ones_like(log_weight))


def without_lost(walkers: Walkers) -> tuple[Walkers, Tensor]:
    """Take the weight of walkers that are no longer finite; returns them, and which still are [B]."""
    is_sound = walkers.x.flatten(1).isfinite().all(1) & walkers.log_weight.isfinite() & walkers.energy.isfinite()
    # Not −inf: where all are lost, their weights must stay numbers.
    return walkers._replace(log_weight=walkers.log_weight.where(is_sound, -LOST)), is_sound


def mean(values: Tensor, pool: Pool | None) -> Tensor:
    """The model's mean of values [B] at walkers of these weights (`Pool.mean`); without weights their plain mean."""
    return values.mean() if pool is None else pool.mean(values)


def cost(kernel: Kernel, k: int) -> Evaluations:
    """Evaluations by a walker in k steps, with the one energy of its new weight."""
    own = Cost(grad=k + 1) if isinstance(kernel, Langevin) else kernel.evaluations(k)
    return Evaluations(energy=1 + own.energy, grad=own.grad)


def require_weighable(kernel: Kernel) -> None:
    """Refuse a kernel whose steps have no weight in closed form.

    Raises:
        ValueError: it has neither an acceptance test nor the density of a Langevin step, or it has hot replicas.
    """
    if kernel.has_ladder:
        raise ValueError("weights must be none with sampler=tempering: its hot replicas have no weights")
    if isinstance(kernel, Langevin):
        if kernel.clamp_grad is not None or kernel.clamp_sample is not None or kernel.noise_scale != 1:
            raise ValueError(
                "weights must be none with sampler.clamp_grad, sampler.clamp_sample or sampler.noise_scale: a clamped "
                "step has no density"
            )
    elif kernel.target_accept is None:
        raise ValueError(
            f"weights must be none with {type(kernel).__name__}: choose sampler=langevin, or one with an acceptance "
            "test, such as mala"
        )


class Witnesses(nn.Module):
    """Walkers that only watch: they move and are weighted like the others, and the gradient never sees them.

    Args:
        shape: shape of one point.
        n: ≥ 1.

    Attributes:
        points, log_weight, energy: the walkers, as in `Walkers`.
    """

    points: Tensor
    log_weight: Tensor
    energy: Tensor

    def __init__(self, shape: tuple[int, ...], n: int) -> None:
        super().__init__()
        self.register_buffer("points", torch.zeros(n, *shape))
        self.register_buffer("log_weight", torch.zeros(n))
        self.register_buffer("energy", torch.zeros(n))

    def fill(self, noise: Density, rng: torch.Generator) -> None:
        """Draw them anew."""
        self._store(fresh(noise, len(self.points), rng))

    def advance(self, kernel: Kernel, energy: Energy, k: int, rng: torch.Generator, ranks: Ranks = ONE) -> Tensor:
        """Weigh them for this energy, and take k steps.

        Args:
            kernel, energy, k, rng: as for `moved`.
            ranks: the processes that have as many each, all of which must call it.

        Returns:
            log mean exp(A) of all [], nats: log ∫ exp(−f/T).
        """
        now = Walkers(self.points, self.log_weight, self.energy)
        now, _ = moved(kernel, energy, reweighted(energy, now, kernel.temperature), k, rng)
        # One that has diverged has no weight; it stands at the origin until it is resampled.
        now, is_sound = without_lost(now)
        x = select_chains(is_sound, now.x, torch.zeros_like(now.x))
        survivors = pooled(now.log_weight, rng, ranks).survivors()
        x, value = survivors.take(x, torch.where(is_sound, now.energy, 0))
        self._store(Walkers(x, survivors.log_weight, value))
        return log_mean(survivors.every)

    def log_z_of(self, energy: Energy) -> Tensor:
        """log Z [] of an energy at temperature 1, nats; they stay as they are. Cost: one energy a walker."""
        with evaluating(energy):
            now, _ = without_lost(reweighted(energy, Walkers(self.points, self.log_weight, self.energy)))
        return log_mean(now.log_weight)

    def _store(self, walkers: Walkers) -> None:
        self.points.copy_(walkers.x)
        self.log_weight.copy_(walkers.log_weight)
        self.energy.copy_(walkers.energy)
