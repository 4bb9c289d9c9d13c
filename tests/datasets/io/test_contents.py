"""The error of a file that a library cannot read."""

import pytest

from ebm_cli.datasets.io.contents import InvalidFile, ReadTable, refuse_damage


@pytest.mark.parametrize("error", [KeyError("x"), MemoryError("x"), OSError("x"), RecursionError("x")])
def test_refuse_damage_gives_any_exception_the_reason(error: Exception) -> None:
    with pytest.raises(InvalidFile, match=r"^is damaged \(.*x") as caught, refuse_damage(lambda e: f"is damaged ({e})"):
        raise error
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("error", [InvalidFile("is empty"), PermissionError("no"), KeyboardInterrupt()])
def test_refuse_damage_passes_what_is_no_damage(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, refuse_damage(lambda _: "is damaged"):
        raise error
    assert caught.value is error


def test_columns_left_out_by_default_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        ReadTable([], None).left_out[0] = "a row index"  # type: ignore[index]
