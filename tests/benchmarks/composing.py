"""The config of `ebm train WORDS`, and what it builds, without the command."""

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from ebm_cli.runs.assemble import assemble
from ebm_cli.runs.instantiate import Parts
from ebm_cli.training.build import make_trainer
from ebm_cli.training.trainer import Trainer

from .record import REPO


def composed(*words: str) -> DictConfig:
    with initialize_config_dir(str(REPO / "conf"), version_base="1.3"):
        return compose("train", list(words))


def step(cfg: DictConfig, trainer: Trainer) -> None:
    """A step as the session takes it: what the guard has seen is read at every logged step."""
    trainer.advance()
    if trainer.step % cfg.log_every == 0:
        trainer.guard.read()


def made(*words: str) -> tuple[DictConfig, Parts, Trainer]:
    """The config, the parts and the trainer of a new run."""
    cfg = composed(*words)
    parts = assemble(cfg)
    trainer = make_trainer(cfg, parts)
    parts.method.prepare(parts.dataset.reference, trainer.rng)
    return cfg, parts, trainer
