"""A run that trains nothing: it measures in a run directory of its own, which `ebm runs` lists like any other."""

from pathlib import Path
from time import perf_counter

from omegaconf import DictConfig, OmegaConf

from ebm_cli.claims.judge import conclude
from ebm_cli.lecture.base import Measurement
from ebm_cli.lecture.report import measured_verdicts
from ebm_cli.runs.reserve import config_hash, take_reserved
from ebm_cli.runs.signals import Signals
from ebm_cli.runs.stored_config import CONFIG, stored_form
from ebm_cli.system.files import write_json, write_text
from ebm_cli.system.threads import set_threads


def run_measurement(cfg: DictConfig, measurement: Measurement, path: Path) -> None:
    """Measure, and judge the claim.

    Args:
        cfg: a training config, validated.
        measurement: that trains nothing.
        path: run directory. A measurement that was interrupted begins again.

    Raises:
        ClaimsFailed: the claim failed.
        Interrupted: by a signal.
    """
    set_threads(cfg.threads)
    with Signals(), take_reserved(path) as directory:
        directory.begin(1, config_hash(cfg, trains=False))
        write_text(path / CONFIG, OmegaConf.to_yaml(OmegaConf.create(stored_form(cfg))))
        began = perf_counter()
        try:
            verdicts = measured_verdicts(measurement, path, [])
        except KeyboardInterrupt as error:
            directory.finish("interrupted", 0, str(error))
            raise
        except BaseException as error:
            directory.finish("failed", 0, f"{type(error).__name__}: {error}")
            raise
        write_json(path / "results.json", {"cost/seconds": perf_counter() - began})
        directory.finish("finished", 1)
    conclude(path, verdicts)
