"""The config of `ebm train WORDS` and the objects that it describes, built without the command."""

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from ebm_cli.runs.assemble import assemble
from ebm_cli.runs.instantiate import Parts
from ebm_cli.training.build import make_trainer
from ebm_cli.training.trainer import Trainer

from .record import REPO


def compose_train(*words: str) -> DictConfig:
    """The config of `ebm train WORDS`."""
    with initialize_config_dir(str(REPO / "conf"), version_base="1.3"):
        return compose("train", list(words))


def logged_step(cfg: DictConfig, trainer: Trainer) -> None:
    """A step of the trainer as the session takes it: the guard is read at every logged step."""
    trainer.advance()
    if trainer.step % cfg.log_every == 0:
        trainer.guard.read()


def new_run(*words: str) -> tuple[DictConfig, Parts, Trainer]:
    """The config, the parts and the trainer of a new run."""
    cfg = compose_train(*words)
    parts = assemble(cfg)
    trainer = make_trainer(cfg, parts)
    parts.method.prepare(parts.dataset.reference, trainer.rng)
    return cfg, parts, trainer
