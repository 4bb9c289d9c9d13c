"""Construction of objects from config nodes."""

from typing import Any, Literal

import pytest
from omegaconf import DictConfig, OmegaConf

from ebm_cli.config.build import build
from ebm_cli.errors import UserError


class Wheel:
    def __init__(self, radius: float) -> None:
        if not radius > 0:
            raise ValueError(f"radius must be > 0, got {radius}")
        self.radius = radius


class Car:
    def __init__(
        self,
        shape: tuple[int, ...],
        wheel: Wheel,
        gears: list[float],
        spares: list[Wheel] | None = None,
        size: tuple[int, int] = (1, 2),
        colour: Literal["red", "blue"] = "red",
    ) -> None:
        self.shape, self.wheel, self.gears, self.spares = shape, wheel, gears, spares
        self.size, self.colour = size, colour


HERE = __name__


def car(**values: Any) -> DictConfig:
    wheel = {"_target_": f"{HERE}.Wheel", "radius": 1}
    node = {"_target_": f"{HERE}.Car", "wheel": "${wheel}", "gears": [1, 2.5], **values}
    return OmegaConf.create({"wheel": wheel, "n": 3, "car": node})


def make(cfg: DictConfig, **context: Any) -> Any:
    return build(cfg.car, "car", Car, trust=None, **({"shape": (2,)} | context))


def test_build_makes_the_object_with_its_parts() -> None:
    spare = {"_target_": f"{HERE}.Wheel", "radius": 5}
    built = make(car(spares=[spare, spare], size=["${n}", 4], colour="blue"))
    assert (built.shape, built.wheel.radius, built.gears, built.size, built.colour) == (
        (2,),
        1,
        [1, 2.5],
        (3, 4),
        "blue",
    )
    assert [wheel.radius for wheel in built.spares] == [5, 5]


def test_key_takes_precedence_over_what_the_run_provides() -> None:
    assert make(car(shape=[7])).shape == (7,)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"colr": "red"}, "car.colr: no such key in Car; did you mean colour?"),
        ({"colour": "blu"}, "car.colour must be one of red, blue, got 'blu'; did you mean blue?"),
        ({"gears": 3}, "car.gears must be a list of numbers, got 3"),
        ({"gears": [1, "x"]}, "car.gears must be a list of numbers, got [1, 'x']"),
        ({"size": [1, 2, 3]}, "car.size must be a list of whole numbers, got [1, 2, 3]"),
        ({"gears": "???"}, "car.gears is required"),
        ({"wheel": {"radius": 2}}, "car.wheel must be a Wheel, got {'radius': 2}"),
        ({"wheel": {"_target_": f"{HERE}.Wheel", "radius": 0}}, "car.wheel.radius must be > 0, got 0"),
        ({"wheel": {"_target_": f"{HERE}.Wheel"}}, "car.wheel.radius is required"),
        ({"_partial_": True}, "car._partial_: not a key; only _target_ may begin with an underscore"),
        ({"_args_": [1]}, "car._args_: not a key; only _target_ may begin with an underscore"),
        ({"_target_": f"{HERE}.Wheel", "wheel": "???"}, "car.wheel is required"),
    ],
)
def test_build_refuses_a_wrong_node(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refused:
        make(car(**values))
    assert str(refused.value) == message


def test_referenced_node_keeps_its_own_name_in_messages() -> None:
    cfg = car()
    cfg.wheel.radius = -1
    with pytest.raises(UserError, match=r"^wheel\.radius must be > 0, got -1$"):
        make(cfg)


def test_build_requires_what_the_run_does_not_provide() -> None:
    with pytest.raises(UserError, match=r"^car\.shape is required$"):
        build(car().car, "car", trust=None)


def test_build_refuses_a_class_of_another_kind() -> None:
    with pytest.raises(UserError, match=r"must name a class of int or str$"):
        build(car().wheel, "wheel", (int, str), trust=None)
