"""The KL of the simple estimators on the tables of the suite: measured once for each table, and kept in a file."""

import json
from pathlib import Path
from typing import NamedTuple

from ebm_cli.system.files import write_json

N_ROWS = 20_000
"""Held-out rows that a KL is measured on."""


class Baseline(NamedTuple):
    """The best simple estimator of one table.

    Attributes:
        kl: nats.
        name: mixture, kde or flow.
    """

    kl: float
    name: str


class BaselineStore:
    """A file of JSON: `NAME/SEED/ROWS` of a table → KL of each estimator, nats, and the seconds that the flow had.

    Args:
        path: of the file; it is written when the first table is measured.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def best(self, name: str, seed: int, n_rows: int | None, seconds: float, threads: int) -> Baseline:
        """The best estimator of a table; they are fitted if the file has none that had this time.

        Args:
            name: of the table.
            seed: of the table.
            n_rows: of the table; None is its own number.
            seconds: wall time that the flow needs to have had.
            threads: of the flow's training.

        Cost: that time and up to a minute, if they are fitted.
        """
        key = f"{name}/{seed}/{n_rows or 'all'}"
        found = self._read().get(key)
        if found is None or found["seconds"] < seconds:
            found = _measure(name, seed, n_rows, seconds, threads) | {"seconds": seconds}
            # Read again: another process may have measured another table meanwhile.
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, self._read() | {key: found})
        kls = {each: kl for each, kl in found.items() if each != "seconds"}
        return Baseline(*min((kl, each) for each, kl in kls.items()))

    def _read(self) -> dict[str, dict[str, float]]:
        return dict(json.loads(self.path.read_text(encoding="utf-8"))) if self.path.exists() else {}


def _measure(name: str, seed: int, n_rows: int | None, seconds: float, threads: int) -> dict[str, float]:
    """Mixture, kde and flow → KL."""
    import torch

    from ebm_cli.datasets import TableSuite
    from ebm_cli.datasets.table_suite.table import is_name
    from ebm_cli.evaluation.simple_estimators import BEST, baseline_kls
    from ebm_cli.system.threads import set_threads

    if not is_name(name):
        raise ValueError(f"the suite has no table {name}")
    before = torch.get_num_threads()
    set_threads(threads)
    try:
        found = baseline_kls(TableSuite(name, n_rows, seed=seed), seconds, N_ROWS)
    finally:
        set_threads(before)
    return {key.removeprefix("eval/kl_"): kl for key, kl in found.items() if key != BEST}
