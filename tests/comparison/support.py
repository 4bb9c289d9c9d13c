"""Directories of runs as training leaves them, and comparisons of them."""

import json
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from ebm_cli.comparison.groups import Comparison, Group, compare
from ebm_cli.runs import record as records

HOSTILE = 'a<b>&"q"\'s_50%$#{x}~^\\end|,\n'
"""A name with every character that CSV, LaTeX and HTML give a meaning."""


class Runs:
    """Runs under a folder, numbered in the order in which they are written.

    Args:
        folder: that of the test; runs lie in `runs/` inside.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder / "runs"

    def write(
        self,
        method: str = "nce",
        dataset: str = "moons",
        results: dict[str, Any] | None = None,
        *,
        seed: int | None = None,
        state: str = "finished",
        config: dict[str, Any] | None = None,
        **status: Any,
    ) -> Path:
        """Write one run; its directory."""
        number = len(list(self.root.glob("*")))
        path = self.root / f"{number:03d}"
        (path / ".hydra").mkdir(parents=True)
        versions = {"python": "3.12.1", "torch": "2.13.0"}
        noted = {"state": state, "step": 100, "steps": 100, "started": 1e9 + number, "versions": versions} | status
        (path / "status.json").write_text(json.dumps(noted))
        choices = {"method": method, "dataset": dataset, "hydra/launcher": "basic"}
        (path / ".hydra" / "hydra.yaml").write_text(json.dumps({"hydra": {"runtime": {"choices": choices}}}))
        made = {"seed": number if seed is None else seed, "batch_size": 10, "energy": {"width": 8}}
        (path / "config.yaml").write_text(json.dumps(made | (config or {})))
        if results is not None:
            (path / "results.json").write_text(json.dumps(results))
        return path

    def write_kls(self, method: str, *values: float, dataset: str = "moons", seconds: float = 1.0) -> None:
        """Write a run for each KL."""
        for value in values:
            results = {"eval/kl": value, "cost/seconds": seconds, "cost/grad_evals": 2.0}
            self.write(method, dataset, results)

    def compare(self, by: Sequence[str] = ("method", "dataset"), metrics: Sequence[str] | None = None) -> Comparison:
        """The comparison of all of them."""
        return compare(records.find(self.root), by, metrics)

    def groups(self) -> dict[str, Group]:
        """The groups by method and data set, by their names."""
        return {" ".join(group.names): group for group in self.compare().groups}


def png(shade: int) -> bytes:
    """A picture of one shade of grey."""
    import io

    import numpy as np
    from matplotlib.image import imsave

    out = io.BytesIO()
    imsave(out, np.full((8, 8, 3), shade, np.uint8), format="png")
    return out.getvalue()


class Elements(HTMLParser):
    """Every tag with its attributes, and the text of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.words += data
