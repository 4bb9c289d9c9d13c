"""The reference page of results, written from their registry by `make docs`.

python -m tests.results_page
"""

from collections.abc import Iterator

from ebm_cli.evaluation.result_description import NULL, SECTIONS, SUFFIXES, Result
from ebm_cli.evaluation.result_list import RESULTS
from tests.support import REPO

PAGE = REPO / "docs" / "reference" / "results.md"

INTRODUCTION = """# Results

This page is generated from `ebm_cli/evaluation/result_list.py` by `make docs`: edit the list, not the page.

A run writes its results to `results.json` and its log to `metrics.jsonl` and TensorBoard; `ebm evaluate` and
`ebm sample` write a `results.json` of their own. A key is `GROUP/NAME`: `eval/` results of an evaluation, `sampler/`
chains, `cost/` time and work, `train/` the training log. `NAME` in a key of this page stands for any name. A result
that cannot be computed is absent, and the command says why; no number in `results.json` is NaN or infinite.

- `val/NAME` is `eval/NAME` on the validation rows, for the keys of *Density* and *Score*: the monitored result where
  the data have no known density, or more than two dimensions.
- Companions of a key:
{companions}
- *Better* says which values `ebm compare` ranks first; the first quality below that all groups of runs have ranks them.
  `cost/steps` is a column of `ebm compare` only: it is the step in `status.json`.
- A *verdict* compares a value with its reference. The rules are in `ebm_cli/evaluation/verdicts.py`.
- A result of your own metric group needs no registration: it is shown without unit and verdict.
"""
BETTER = {"low": "lower", "high": "higher", "half": "near 0.5", "none": ""}
HEAD = "| key | label | unit | better | meaning | reference | verdict |\n|---|---|---|---|---|---|---|"


def page() -> str:
    """The page as Markdown."""
    suffixes = "\n".join(f"  - `KEY{suffix}`: {meaning}" for suffix, meaning in SUFFIXES.items())
    parts = [INTRODUCTION.format(companions=suffixes)]
    for section in SECTIONS:
        rows = "\n".join(_row(result) for result in RESULTS if result.section == section)
        parts.append(f"## {section}\n\n{HEAD}\n{rows}\n")
    return "\n".join(parts)


def _row(result: Result) -> str:
    keys = "<br>".join(f"`{key}`" for key in (result.key, *(f"{result.key}{suffix}" for suffix in result.companions)))
    rule = result.verdict
    reference, grades = ("", "") if rule is None else (rule.reference, rule.grades)
    cells = [keys, result.label, result.unit, BETTER[result.better], "; ".join(_meaning(result)), reference, grades]
    return f"| {' | '.join(cells)} |"


def _meaning(result: Result) -> Iterator[str]:
    yield result.meaning
    if result.null:
        yield f"`{NULL}`: {result.null}"
    if result.shown_with:
        yield f"shown beside `{result.shown_with}`"


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE.relative_to(REPO))
