"""How a number is written for a person."""

from ebm_cli.reporting.jsonl import Value


def format_value(value: Value) -> str:
    """Four significant digits; plain decimals from 0.0001 to 10 million, powers of ten beyond; a dash for no value."""
    if value is None:
        return "–"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ")
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e7:
        return f"{value:.3e}"
    if abs(value) >= 999.95:  # rounds to four digits before the point
        return f"{value:,.0f}".replace(",", " ")
    text = f"{value:#.4g}"
    return text if "e" not in text else f"{value:.4g}"
