"""Numbers of an optimizer that torch takes and that no step survives; nothing here needs torch."""

import math
from typing import Any

from omegaconf import DictConfig

from ebm_cli.config.type_checks import to_plain
from ebm_cli.errors import UserError


def require_finite(optimizer: Any) -> None:
    """Refuse numbers of an optimizer that torch takes and that no step survives.

    Args:
        optimizer: its node; anything else passes.

    Raises:
        UserError: an infinite number or NaN, or a learning rate that is not above 0.
    """
    for key, value in to_plain(optimizer).items() if isinstance(optimizer, DictConfig) else ():
        numbers = [number for number in (value if isinstance(value, list) else [value]) if isinstance(number, float)]
        if key == "lr" and isinstance(value, int | float) and not 0 < value < math.inf:
            raise UserError(f"optimizer.lr must be finite and > 0, got {value}")
        if not all(map(math.isfinite, numbers)):
            raise UserError(f"optimizer.{key} must be finite, got {value}")
