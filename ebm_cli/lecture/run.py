"""A run that trains nothing: it measures in a run directory of its own, which `ebm runs` lists like any other."""

from pathlib import Path
from time import perf_counter

from omegaconf import DictConfig, OmegaConf

from ebm_cli.claims.judge import conclude
from ebm_cli.lecture.base import Measurement
from ebm_cli.lecture.report import measured_verdicts, stored_verdicts
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


def conclude_again(measurement: Measurement, path: Path) -> None:
    """Print the numbers of a finished measurement, and conclude by its verdicts; nothing is measured.

    Args:
        measurement: that trains nothing.
        path: its run directory, which an earlier version may have left without verdicts: they are not missed.

    Raises:
        ClaimsFailed: the claim failed.
    """
    verdicts = stored_verdicts(measurement, path)
    if verdicts:
        conclude(path, verdicts)
