"""Held-out digits and the mask that keeps their upper halves, as `ebm sample` reads them."""

from pathlib import Path

import numpy as np

import ebm_cli

N = 8


def write_halves(run: Path, file: Path) -> None:
    """Write rows `x` [N, 1, 8, 8] in data units and `mask` [1, 8, 8], 1 where a pixel is kept.

    Args:
        run: a run on digits.
        file: the .npz.
    """
    x = ebm_cli.load(run).dataset.held_out(N)[:N].numpy()
    mask = np.zeros(x.shape[1:], dtype=np.float32)
    mask[..., : x.shape[-2] // 2, :] = 1
    np.savez(file, x=x, mask=mask)
