"""The place of a process by the variables of torchrun and of Slurm."""

import pytest

from ebm_cli.errors import UserError
from ebm_cli.system.launched import Place, first_host, is_another, place_of

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "node7", "MASTER_PORT": "29500"}
SLURM = {
    "SLURM_PROCID": "3",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NODELIST": "gpu[007-009]",
    "SLURM_JOB_ID": "123456",
    "SLURM_STEP_ID": "2",
}


def test_variables_of_torchrun_are_read() -> None:
    assert place_of(TORCHRUN) == Place(3, 4, 1, "node7", 29500, "0.0")


def test_torchrun_that_slurm_has_started_comes_first() -> None:
    agent = {"TORCHELASTIC_RUN_ID": "x", "TORCHELASTIC_RESTART_COUNT": "2", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    assert place_of({**SLURM, "SLURM_PROCID": "0", **TORCHRUN, **agent}) == Place(3, 4, 1, "node7", 29500, "x.2", True)


def test_variables_of_slurm_are_read() -> None:
    found = place_of(SLURM)
    assert found == Place(3, 4, 1, "gpu007", 20_000 + 123456 % 20_000, "123456.2.0")
    chosen = place_of({**SLURM, "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "31000", "SLURM_RESTART_COUNT": "1"})
    assert (chosen.address, chosen.port, chosen.name) == ("10.0.0.1", 31000, "123456.2.1")


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("a", "a"),
        ("a,b", "a"),
        ("n[3,5]", "n3"),
        ("n[08-10],m1", "n08"),
        ("r1n[2-4]-ib", "r1n2-ib"),
        ("a-1,b[2-3]", "a-1"),
    ],
)
def test_first_machine_of_a_node_list(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "no launcher has started this process .*srun.*torch.distributed.run.*parallel.ranks=N"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "RANK is set, and not LOCAL_RANK, MASTER_ADDR, MASTER_PORT"),
        ({**TORCHRUN, "RANK": "4"}, "rank 4 of 4, which are counted from 0"),
        ({**TORCHRUN, "WORLD_SIZE": "two"}, "WORLD_SIZE must be a whole number, got 'two'"),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, "script of a Slurm job.*write srun before the command"),
        ({**SLURM, "SLURM_STEP_NODELIST": "["}, "set MASTER_ADDR"),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2"}, "Slurm has not set SLURM_LOCALID and"),
    ],
)
def test_wrong_variables_are_one_line(variables: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        place_of(variables)
    assert "\n" not in str(raised.value)


def test_processes_that_are_not_the_first_are_known() -> None:
    assert [is_another({"RANK": value}) for value in ("0", "", "1")] == [False, False, True]
    assert is_another({"SLURM_PROCID": "3"})
