"""The value by which a run is monitored, from its results or from a line of metrics.jsonl alone."""

from ebm_cli.evaluation.result_registry import MONITORED
from ebm_cli.evaluation.values import Values


def monitored_value(monitor: str, results: Values) -> float | None:
    """The value that a run is monitored by; None if there is none.

    Args:
        monitor: the key of the config: auto, eval/NAME or val/NAME.
        results: of a finished run, or of one evaluation.
    """
    names = MONITORED if monitor == "auto" else (monitor.rpartition("/")[2],)
    validation = [key for key in results if key.startswith("val/") and (monitor == "auto" or key[4:] in names)]
    found = (results.get(key) for key in (*validation, *(f"eval/{name}" for name in names)))
    return next((float(value) for value in found if isinstance(value, float)), None)
