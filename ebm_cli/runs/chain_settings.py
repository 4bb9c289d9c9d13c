"""Settings of the chains of `ebm sample`, read from a config: sampler, target, number and burn-in."""

from omegaconf import DictConfig

from ebm_cli.config.build import build
from ebm_cli.config.trust import trust_of
from ebm_cli.errors import UserError
from ebm_cli.runs.conditioning import ChainTarget, make_chain_target, require_stable_step
from ebm_cli.runs.energy_alone import require_energy
from ebm_cli.runs.model import Model
from ebm_cli.samplers import Kernel, Schedule, Tempering, Underdamped, geometric
from ebm_cli.samplers.metric import wants_metric, why_not_measured

DEFAULT_CHAINS = 1000
"""Chains that run in parallel if `n_chains` is not set."""


def validate_chains(cfg: DictConfig, model: Model) -> None:
    """Refuse numbers that do not fit together, or do not fit the model; settles `adapt=auto`."""
    settle_adapt(cfg, model)
    kernel, target = kernel_of(cfg, model), target_of(cfg, model)
    reason = kernel.why_not(target.starts[0].numel())
    if reason is not None:
        raise UserError(f"sampler: {reason}")
    reason = why_not_measured(kernel, cfg.burn_in)
    if reason is not None:
        raise UserError(f"sampler.{reason}")
    annealing_of(cfg, kernel)
    n = n_chains(cfg)
    if cfg.n_samples % n:
        whole = -(-cfg.n_samples // n) * n
        raise UserError(f"n_samples must be a multiple of n_chains = {n}, got {cfg.n_samples}; set n_samples={whole}")


def annealing_of(cfg: DictConfig, kernel: Kernel) -> Schedule | None:
    """The temperatures of burn-in, or of its first half with `adapt`; None without annealing."""
    if cfg.anneal == 1:
        return None
    if cfg.anneal <= kernel.temperature:
        raise UserError(
            f"anneal={cfg.anneal:g}: must be above sampler.temperature, {kernel.temperature:g}, to which it falls"
        )
    n_steps = cfg.burn_in // 2 if cfg.adapt else cfg.burn_in
    if n_steps < 2:
        raise UserError(
            f"anneal={cfg.anneal:g}: burn_in must be >= {4 if cfg.adapt else 2}, over which it falls, got {cfg.burn_in}"
        )
    return geometric(n_steps, temperature=(float(cfg.anneal), kernel.temperature))


def n_chains(cfg: DictConfig) -> int:
    """Chains that run in parallel: `n_chains`, by default `DEFAULT_CHAINS` or one for each sample if that is fewer."""
    return int(min(DEFAULT_CHAINS, cfg.n_samples) if cfg.n_chains is None else cfg.n_chains)


def longer_chains(cfg: DictConfig, n_draws: int) -> str:
    """The keys that give each chain so many draws or more, as they are typed: fewer chains, or more samples."""
    fewer = next((n for n in range(cfg.n_samples // n_draws, 1, -1) if cfg.n_samples % n == 0), None)
    chains = DEFAULT_CHAINS if cfg.n_chains is None else int(cfg.n_chains)
    keys = [] if fewer is None else [f"n_chains={fewer}"]
    return " or ".join([*keys, f"n_samples={n_draws * chains}"])


def settle_adapt(cfg: DictConfig, model: Model) -> None:
    """Replace `adapt=auto` in the config by true or false.

    The step size in a run's config is that of its training. An energy with a reference trains without chains by
    default, and has structure at the scale of each component, which no step size fits that was not measured. The same
    adaptation measures a metric, and bounds the bias of a kernel that knows the error of its energy.
    """
    if cfg.adapt == "auto":
        cfg.adapt = False
        kernel = kernel_of(cfg, model)
        wanted = model.energy.reference is not None or wants_metric(kernel) or kernel.target_error is not None
        cfg.adapt = kernel.can_adapt and cfg.burn_in > 0 and wanted
    if wants_metric(kernel_of(cfg, model)) and not (cfg.adapt and cfg.burn_in):
        raise UserError("sampler.metric is measured while burn-in adapts the step size: set adapt=true burn_in=1000")


def kernel_of(cfg: DictConfig, model: Model) -> Kernel:
    """The sampler that was chosen, by default that of the run."""
    node = model.config.sampler if cfg.get("sampler") is None else cfg.sampler
    kernel: Kernel = build(node, "sampler", Kernel, trust=trust_of(cfg))
    if cfg.adapt and not kernel.can_adapt:
        raise UserError(_no_rate(kernel))
    require_stable_step(kernel, model, cfg.noise_std)
    if cfg.checkpoint is None:
        require_energy(model, kernel)
    return kernel


def _no_rate(kernel: Kernel) -> str:
    """Why burn-in cannot adapt the kernel, and what can be chosen."""
    inner, key = (kernel.kernel, "sampler.kernel") if isinstance(kernel, Tempering) else (kernel, "sampler")
    remedies = [f"{key}=mala"]
    if isinstance(inner, Underdamped):
        # A ladder adapts to the acceptance alone.
        remedies += [] if inner is not kernel else [f"{key}.energy_error=1e-4"]
        remedies += [f"{key}.test_every=5"]
    return (
        f"adapt=true: {type(inner).__name__} has no acceptance rate to adapt the step size to; set adapt=false, or "
        f"{', or '.join(remedies)}"
    )


def target_of(cfg: DictConfig, model: Model) -> ChainTarget:
    """The target of the chains and their starts, with the rows that it is conditional on."""
    return make_chain_target(model, cfg.init, cfg.mask, cfg.noise_std, n_chains(cfg), cfg.seed)
