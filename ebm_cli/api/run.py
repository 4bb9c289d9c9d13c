"""The outcome of a verb as an object: a run of `train`, a report of `evaluate`."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ebm_cli.api.cards import card
from ebm_cli.api.model import Model, load
from ebm_cli.errors import UserError
from ebm_cli.evaluation.result_registry import HEADLINES, describe
from ebm_cli.evaluation.values import Values, format_value, number
from ebm_cli.runs.checkpoint import Which
from ebm_cli.runs.record import Record, read
from ebm_cli.runs.status import read_status


class Run:
    """A training run, read from its directory: `Run("outputs/train/…")`, or what `train` returns.

    Args:
        path: directory of the run.

    Attributes:
        path: absolute.

    Raises:
        UserError: no run is there.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        if read_status(self.path) is None:
            raise UserError(f"{path}: no directory of a run (it has no status.json)")

    @property
    def results(self) -> dict[str, Any]:
        """The results of training, by the keys of docs/reference/results.md; empty before the run is finished."""
        return _results(self.path)

    @property
    def config(self) -> DictConfig:
        """The resolved config: `run.config.method.k`."""
        config = OmegaConf.create(self._record.config)
        OmegaConf.set_readonly(config, True)
        return config

    @property
    def state(self) -> str:
        """One of running, finished, interrupted, diverged, failed, lost."""
        return self._record.state

    @property
    def step(self) -> int | None:
        """Steps that were trained."""
        return self._record.step

    @property
    def figures(self) -> dict[str, Path]:
        """Name → file of each picture; the first one shows the result."""
        return _figures(self.path / "figures")

    def model(self, which: Which = "auto", weights: str = "ema", trust: tuple[str, ...] = ()) -> Model:
        """The trained model: `load(run)`."""
        return load(self.path, which, weights, trust)

    @property
    def _record(self) -> Record:
        return read(self.path)

    @property
    def _title(self) -> str:
        record = self._record
        steps = "?" if record.step is None else f"{record.step:,}"
        chosen = record.options
        return f"{chosen.get('method', '?')} on {chosen.get('dataset', '?')}, {record.state} at step {steps}"

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}: {self._title}{_headline(self.results)})"

    def _repr_html_(self) -> str:
        return card(self._title, self.results, next(iter(self.figures.values()), None), self.path)


class Report:
    """The outcome of `evaluate`.

    Args:
        path: its directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def results(self) -> dict[str, Any]:
        """The results, by the keys of docs/reference/results.md."""
        return _results(self.path)

    @property
    def figures(self) -> dict[str, Path]:
        """Name → file of each picture."""
        return _figures(self.path)

    def __repr__(self) -> str:
        return f"Report({str(self.path)!r}{_headline(self.results)})"

    def _repr_html_(self) -> str:
        return card("Evaluation", self.results, next(iter(self.figures.values()), None), self.path)


def _results(path: Path) -> dict[str, Any]:
    file = path / "results.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found


def _figures(folder: Path) -> dict[str, Path]:
    return {
        file.stem: file for file in sorted(folder.glob("*.png"), key=lambda file: (file.stem != "final", file.stem))
    }


def _headline(results: Values) -> str:
    """The overall word and the first main result, as the end of a line; empty without results."""
    word = results.get("eval/overall")
    main = next((key for key in HEADLINES if number(results, key) is not None), None)
    value = "" if main is None else f", {describe(main).label} {format_value(results[main])} {describe(main).unit}"
    return f"{value.rstrip()}{f', {word}' if word else ''}"
