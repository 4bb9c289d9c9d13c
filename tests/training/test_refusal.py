"""Validation rows refuse a correction that loses more than chance explains, and no other."""

import pytest
import torch

from ebm_cli.training.refusal import refuse


@pytest.mark.parametrize(("n_rows", "refused"), [(300, False), (900, True)])
def test_a_loss_counts_beyond_two_standard_errors(n_rows: int, refused: bool) -> None:
    """Gains of mean −0.1 and standard deviation 1 lose by 1.7 standard errors of 300 rows, and by 3 of 900."""
    gains = torch.cat([torch.full((n_rows // 2,), -1.1), torch.full((n_rows // 2,), 0.9)])
    assert refuse(gains) is refused
    assert not refuse(gains + 0.2)
