"""Evaluation mode for a while."""

import pytest

from ebm_cli.energies import MLP, evaluating


@pytest.mark.parametrize("training", [True, False])
def test_evaluating_restores_the_mode(training: bool) -> None:
    energy = MLP((2,), width=4, depth=1).train(training)
    with evaluating(energy):
        assert not energy.training
        assert not energy.network.training
    assert energy.training is training


def test_evaluating_restores_the_mode_after_an_exception() -> None:
    energy = MLP((2,), width=4, depth=1).train()
    with pytest.raises(ZeroDivisionError), evaluating(energy):
        raise ZeroDivisionError
    assert energy.training
    assert energy.network.training
