"""The page of the host's reads, found in the source: python -m tests.host_reads.

On a GPU the host waits at such a place for everything that was launched before.
"""

import ast
from collections import Counter

from tests.support import REPO

PACKAGE, PAGE = REPO / "ebm_cli", REPO / "docs" / "development" / "host_reads.md"
FOLDERS = ("methods", "samplers", "derivatives", "energies", "densities", "optim", "evaluation")
READS = ("item", "tolist", "cpu", "numpy", "nonzero", "equal", "masked_select", "unique")
"""Methods of tensors that give the host a value, or a tensor of a size that depends on values."""
CASTS = ("float", "bool", "int")
"""Casts that read a tensor; those of a result of a call, a sum or an element are counted, whatever it is of."""

REASONS: dict[str, dict[str, str]] = {
    "A training step, and the chains in it": {
        "methods/fce.py": "accuracy of the energy, once a turn of `turn_every` steps: whose turn is next",
        "methods/resampling.py": "weights of the chains of all processes (`ranks`), where they may be resampled",
        "methods/step_backoff.py": "acceptance of the chains of cd, every fifth step, for their step size",
        "optim/fused_adam.py": "counts of the optimizer, at the second step and after a resumption",
        "energies/quadratic.py": "whether the precision is positive, at each log Z: in `mle` at every step",
        "densities/reference.py": "rows of the broad component, at each draw, as noise at every step",
        "densities/reference_flow.py": "rows of each component, at each draw, as noise at every step",
        "samplers/nuts.py": "whether a trajectory still grows, at each doubling and every eighth leap",
    },
    "Before the first step, or after the last": {
        "methods/noise_tails.py": "whether the noise's tails are light, once for a run's remark",
        "methods/whitening.py": "the rows, once: the covariance is taken in float64 on the CPU",
        "methods/replicated/nce.py": "whether the runs of a batch have the same noise, once",
        "energies/bounded_inputs.py": "the rows, once: their bounds",
        "energies/component_scales.py": "change of the weights in a fit, each round",
        "energies/reference_inputs.py": "features of the rows, once: their moments",
        "energies/tail_fit.py": "steps of the fit, once after training",
        "densities/": "fits to the rows, once before the first step, by numpy and scikit-learn on the CPU",
    },
    "Chains of evaluation and of ebm sample": {
        "samplers/adaptation.py": "acceptance, at each step of burn-in with adaptation, for the step size",
        "samplers/error_adaptation.py": "error of the energy, and positions for the autocorrelation, in burn-in",
        "samplers/base.py": "gradients that a kernel of variable length took, once for its cost",
        "samplers/conditional.py": "free coordinates of given rows, once",
        "samplers/metric.py": "whether the scatter is finite, once for a metric",
        "samplers/stuck.py": "number of chains that stand still, once after burn-in",
        "samplers/tempering.py": "rates of exchange, once for a ladder that adapts",
    },
    "Metrics, once a result": {
        "evaluation/annealing.py": "log Z, its standard error, and whether the weights are finite",
        "evaluation/annealing_path.py": "widths of the path",
        "evaluation/annealing_schedule.py": "temperatures, which are numbers of the host",
        "evaluation/boosted_trees.py": "classes and thresholds; the trees are numpy's",
        "evaluation/chain_summary.py": "counts of chains at rest and lost draws, worst R-hat and ESS",
        "evaluation/chain_verdicts.py": "the number that a verdict compares",
        "evaluation/classifier.py": "number of classes",
        "evaluation/classifier_test.py": "scores and errors, and rows for the trees",
        "evaluation/clusters.py": "sizes of clusters, each round",
        "evaluation/context.py": "rows or samples that the processes share",
        "evaluation/coordinate_summary.py": "a number for each column of a table",
        "evaluation/crossing.py": "effective number of draws",
        "evaluation/divergences.py": "kl, nll, Fisher divergence and their standard errors",
        "evaluation/draw_counts.py": "counts of draws of a stream",
        "evaluation/expectation.py": "an expectation and its error",
        "evaluation/features.py": "features of a classifier, block by block",
        "evaluation/groups/density.py": "the log Z that the method learned",
        "evaluation/groups/features.py": "whether all features are finite",
        "evaluation/groups/samples.py": "whether all samples are finite",
        "evaluation/importance_sampling.py": "log Z, effective number of weights, block by block",
        "evaluation/importance_weights.py": "effective number, tail index",
        "evaluation/kernel_density.py": "likelihood of each bandwidth",
        "evaluation/log_z.py": "log Z of a closed form",
        "evaluation/masses.py": "masses of modes",
        "evaluation/mcmc_diagnostics.py": "lengths, which are numbers of the host",
        "evaluation/memorisation.py": "nearest distances, block by block",
        "evaluation/mode_weights.py": "masses of modes and their counts",
        "evaluation/model_samples.py": "means of jumps and gradients, for the costs",
        "evaluation/monte_carlo_error.py": "quantiles of a beta distribution, by scipy on the CPU",
        "evaluation/narrowest.py": "the narrowest width",
        "evaluation/objective.py": "the loss, batch by batch",
        "evaluation/ood.py": "AUROC, ranks on the CPU",
        "evaluation/pareto.py": "tail index of the weights",
        "evaluation/proposals.py": "moments for a proposal",
        "evaluation/quadrature.py": "error, border mass, heaviest cells, cell by cell where a grid is refined",
        "evaluation/quadrature_grid.py": "the box",
        "evaluation/row_scores.py": "the strangest rows",
        "evaluation/shared.py": "what the processes tell one another of their shares",
        "evaluation/simple_estimators.py": "scores of fitted densities",
        "evaluation/spline_flow.py": "validation loss, each round of a fit",
        "evaluation/stein.py": "KSD, its bootstrap, the temperature",
        "evaluation/surface.py": "energies on the grid of a picture",
        "evaluation/tail_draws.py": "draws of the tails",
        "evaluation/two_sample.py": "median distance (the kernel's width), each distance with its null",
        "evaluation/separation.py": "the separation of the chains in one coordinate",
        "evaluation/virial.py": "the virial and its error",
        "evaluation/window.py": "rows outside the window of a picture, by numpy",
    },
}
"""Part of a run → file or folder that reads → what is read, and how often."""

EVERY_STEP = REASONS["A training step, and the chains in it"]

INTRODUCTION = """# The host's reads

A GPU computes while the host runs ahead; where the host asks for a value, it waits for everything that was launched
before. This page lists every file of the mathematics that does so, with the reason. It is generated
(`python -m tests.host_reads`) from the source, and a test fails when a file that reads is missing here or no longer
reads. *Reads* counts the places in the source: calls of `item`, `tolist`, `cpu`, `numpy`, `nonzero`, `equal`, `unique`,
and casts by `float`, `bool`, `int`, some of which are of numbers that the host has already.
Masks as an index are not looked for.

Between two logged steps a training step reads nothing else. Losses, chains and whole steps
(`tests/performance/test_host_syncs.py`, `tests/methods/test_meta_device.py`, `tests/training/test_meta_device.py`) and
the tensor parts of the metrics (`tests/evaluation/test_meta_device.py`) run on torch's `meta` device, which has no
values to read. The guard reads every `log_every` steps. On a GPU `ebm check device=cuda` counts the waits
([on a GPU](../guides/gpus.md)).
"""


def reads_of(source: str) -> Counter[str]:
    """Places of each kind at which a module may read a value."""
    found: Counter[str] = Counter()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Attribute) and node.func.attr in READS:
            found[node.func.attr] += 1
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        computed = node.args and isinstance(node.args[0], ast.Call | ast.BinOp | ast.Compare | ast.Subscript)
        if name in CASTS and computed:
            found[name] += 1
    return found


def readers() -> dict[str, Counter[str]]:
    """File that reads → its places; densities are their folder, but for those that read when they draw."""
    found: dict[str, Counter[str]] = {}
    for folder in FOLDERS:
        for path in sorted((PACKAGE / folder).rglob("*.py")):
            name = path.relative_to(PACKAGE).as_posix()
            name = "densities/" if folder == "densities" and name not in EVERY_STEP else name
            reads = reads_of(path.read_text(encoding="utf-8"))
            if reads:
                found[name] = found.get(name, Counter()) + reads
    return found


def page() -> str:
    """The page as Markdown."""
    found, parts = readers(), [INTRODUCTION]
    for section, reasons in REASONS.items():
        rows = [f"| `{name}` | {sum(found.get(name, Counter()).values())} | {why} |" for name, why in reasons.items()]
        parts.append(
            "\n".join([f"## {section}\n", "| where | reads | what, and how often |", "|---|---|---|", *rows, ""])
        )
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
