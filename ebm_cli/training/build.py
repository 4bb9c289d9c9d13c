"""Construction of the trainer of a run from its config."""

from collections.abc import Iterable

from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ebm_cli.acceleration.compile_mode import Work
from ebm_cli.config.build import build
from ebm_cli.config.trust import Trust
from ebm_cli.errors import UserError
from ebm_cli.rng import generator
from ebm_cli.runs.instantiate import Parts
from ebm_cli.samplers import Kernel
from ebm_cli.system.device import device_of
from ebm_cli.system.torch_internals import skip_dynamo_import
from ebm_cli.training.trainer import Trainer


def make_trainer(cfg: DictConfig, parts: Parts, trust: Trust = None) -> Trainer:
    """The trainer of a new run."""
    device = device_of(cfg.device)
    skip_dynamo_import()

    def optimizer(parameters: Iterable[nn.Parameter], lr: float | None) -> Optimizer:
        node = cfg.optimizer if lr is None else OmegaConf.merge(cfg.optimizer, {"lr": lr})
        made: Optimizer = build(node, "optimizer", Optimizer, trust=trust, params=list(parameters))
        return made

    def schedule(of: Optimizer) -> LRScheduler:
        # What torch's schedules call the run's length and the player's own rate; one more step than the run has,
        # because the schedule also moves after the last one.
        given = {"T_max": cfg.steps, "total_steps": cfg.steps + 1, "max_lr": of.defaults["lr"]}
        made: LRScheduler = build(cfg.schedule, "schedule", LRScheduler, trust=trust, optimizer=of, **given)
        return made

    try:
        return Trainer(
            parts.energy,
            parts.method,
            parts.dataset.batches(cfg.batch_size, generator(cfg.seed, "data", device)),
            optimizer,
            schedule,
            generator(cfg.seed, "method", device),
            cfg.clip_grad_norm,
            cfg.ema,
            guard_interval=cfg.log_every,
            precision=cfg.precision,
        )
    except ValueError as error:
        raise UserError(str(error)) from error


def training_work(parts: Parts, batch_size: int, kernel: Kernel, steps: int) -> Work:
    """Describe the derivatives that a run takes, which decide whether compiling pays.

    Args:
        parts: energy and method.
        batch_size: rows a step.
        kernel: of the evaluation's chains.
        steps: training steps.
    """
    method = parts.method
    kernels = (kernel,) if method.kernel is None else (kernel, method.kernel)
    return Work(steps, batch_size, method.directions(parts.energy), kernels)
