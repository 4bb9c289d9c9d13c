"""Why a survivor is equivalent to the source: (the line before, the line after) → one line."""

EQUIVALENT: dict[tuple[str, str], str] = {}
