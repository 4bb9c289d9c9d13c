"""Tables and picture of docs/concepts/scaling.md, written into the page and beside it: python -m tests.scaling."""

import re

from tests.scaling import figure, model
from tests.scaling.model import Machine
from tests.support import REPO

PAGE = REPO / "docs" / "concepts" / "scaling.md"
PARAMETERS, GPUS, DIM = 10**9, 10**4, 3072
WIDTH, DEPTH = 8192, 15
"""Size of a perceptron of 10⁹ parameters."""
ROWS, BATCH = 256, 2**18
H100 = Machine()


def table(head: str, rows: list[list[str]]) -> str:
    """A table of Markdown."""
    line = "|".join("---" for _ in head.split("|"))
    return "\n".join([f"| {head} |", f"|{line}|", *(f"| {' | '.join(row)} |" for row in rows)])


def messages() -> str:
    """All-reduces of the gradient of 10⁹ and of 10⁵ parameters."""
    rows = []
    for p in (2, 8, 64, 1024, GPUS):
        found = [f(p, model.BYTES * n, H100) for n in (PARAMETERS, 10**5) for f in (model.ring, model.tree)]
        rows.append([f"{p:,}", *(seconds(value) for value in found)])
    return table("GPUs | 10⁹ parameters, ring | tree | 10⁵ parameters, ring | tree", rows)


def steps() -> str:
    """A step of each method with a fixed number of rows on each GPU."""
    rows = []
    for name, method in model.methods(DIM).items():
        parts = [
            model.work(method, ROWS, PARAMETERS, H100),
            model.update(method, PARAMETERS, H100),
            model.message(GPUS, method.networks * model.BYTES * PARAMETERS, H100),
        ]
        half = model.rows_for(0.5, method, GPUS, PARAMETERS, H100)
        share = model.computing(method, GPUS, ROWS, PARAMETERS, H100)
        floor = model.work(method, 1, PARAMETERS, H100)
        cells = [f"{method.sweeps:,g}", *map(seconds, parts), f"{100 * share:.0f} %", f"{half:,.0f}", seconds(floor)]
        rows.append([f"`{name}`", *cells])
    return table("method | sweeps a row | arithmetic | optimizer | message | computing | rows for 50 % | one row", rows)


def speedups() -> str:
    """Table of how many times faster p GPUs take a step of one batch than one GPU, and the share of p that this is."""
    rows = []
    for name, method in model.methods(DIM).items():
        one = model.step(method, 1, BATCH, PARAMETERS, H100)
        cells = []
        for p in (64, 1024, 8192):
            times = one / model.step(method, p, BATCH / p, PARAMETERS, H100)
            cells.append(f"{times:,.0f} ({100 * times / p:.0f} %)")
        rows.append([f"`{name}`", seconds(one), *cells])
    return table("method | one GPU | 64 | 1,024 | 8,192", rows)


def noise() -> str:
    """Bounds of the share of rows that a Gaussian noise could have drawn."""
    scales = (1.05, 1.1, 1.5)
    rows = [[f"{dim:,}", *(f"{model.overlap(dim, scale):.1g}" for scale in scales)] for dim in (2, 64, 784, DIM)]
    return table("dimensions | " + " | ".join(f"noise {100 * (scale - 1):.0f} % too wide" for scale in scales), rows)


def seconds(value: float) -> str:
    """A time in the unit that suits it, with two digits."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if value * factor >= 1 or unit == "µs":
            digits = max(0, 1 - len(str(int(value * factor))) + 1)
            return f"{value * factor:,.{digits}f} {unit}"
    raise AssertionError


TABLES = {"messages": messages, "steps": steps, "speedups": speedups, "noise": noise}


def with_tables(text: str) -> str:
    """The page with its tables as they are now."""
    for name, made in TABLES.items():
        marks = f"<!-- {name} -->", f"<!-- end of {name} -->"
        text = re.sub(f"{marks[0]}.*?{marks[1]}", f"{marks[0]}\n\n{made()}\n\n{marks[1]}", text, flags=re.DOTALL)
    return text


if __name__ == "__main__":
    figure.draw(PAGE.with_suffix(".png"), DIM, PARAMETERS, BATCH, GPUS, H100)
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
