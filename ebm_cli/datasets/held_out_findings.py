"""Findings about held-out rows: numbers far from all that is trained on, by which results on these rows are decided."""

from collections.abc import Iterable, Sequence

import numpy as np
from torch import Tensor

from ebm_cli.datasets.column_values import Values, robust_scale
from ebm_cli.datasets.findings import Finding, Labels, Run
from ebm_cli.datasets.finite import FAR_OUT


def far_held_out(train: Tensor, held_out: Tensor, label: Labels, run: Run) -> Iterable[Finding]:
    """Held-out numbers more than FAR_OUT robust standard deviations off, and as far from the training rows.

    Args:
        train: training rows [N, D], data units.
        held_out: validation and test rows [M, D].
        label: of the columns.
        run: what is done with the rows.
    """
    seen, unseen = (rows.detach().cpu().double().numpy() for rows in (train, held_out))
    median = np.median(seen, axis=0)
    near, distance = np.abs(seen - median).max(0), np.abs(unseen - median)
    for j in np.flatnonzero(distance.max(0) > 2 * near):
        scale = robust_scale(Values.of(np.ascontiguousarray(seen[:, j], dtype=np.float32)))
        far = distance[:, j] > max(FAR_OUT * scale[1], 2 * near[j]) if scale is not None else np.zeros(1, bool)
        if far.any():
            farthest = float(unseen[distance[:, j].argmax(), j])
            yield _finding(int(j), farthest, int(far.sum()), (float(median[j]), float(near[j])), label, run)


def _finding(j: int, farthest: float, n: int, training: Sequence[float], label: Labels, run: Run) -> Finding:
    median, near = training
    count = "one held-out value is" if n == 1 else f"{n} held-out values are far off, up to"
    others = f"within {near:.3g}" if abs(median) <= near else f"{median:.4g} ± {near:.3g}"
    robust = ", or set dataset.standardize=robust, which does" * ("dataset.standardize" in run.keys)
    return Finding(
        "outliers",
        (j,),
        farthest,
        f"{label.one(j)}: {count} {farthest:.6g}, the training rows {others}",
        "means over held-out rows are decided by it" if n == 1 else "means over held-out rows are decided by them",
        f"leave out the {'row' if n == 1 else 'rows'}{robust}",
    )
