"""The terminal while runs are trained together."""

from pathlib import Path

import pytest

from ebm_cli.cli.replica_board import ReplicaBoard


def test_board_shows_the_mean_loss_of_energies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In steps in which only flows learn, whose loss has the other sign, that of the last step of an energy."""
    board = ReplicaBoard([(tmp_path / str(seed), [f"seed={seed}"]) for seed in range(2)])
    with board:
        for step, losses in enumerate(([], [], [1.25, 1.75], [], [2.5]), 1):
            board.show(step, 5, 2, losses)
    _, first, *others = capsys.readouterr().out.splitlines()
    assert "runs 2" in first
    assert "mean loss" not in first
    assert [next(part for part in line.split("  ") if "mean loss" in part) for line in others] == [
        "mean loss 1.500",
        "mean loss 1.500",
        "mean loss 2.500",
    ]
