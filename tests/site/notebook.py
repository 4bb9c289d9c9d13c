"""A notebook as a page of the site: its text, its code, and what its cells printed, returned and drew."""

import json
import re
from collections.abc import Iterator
from typing import Any


def page(notebook: str) -> str:
    """Markdown of a notebook.

    Args:
        notebook: the text of an .ipynb file.

    Raises: ValueError for an output that a page cannot show.
    """
    return "\n\n".join(part for cell in json.loads(notebook)["cells"] for part in _cell(cell)) + "\n"


def _cell(cell: dict[str, Any]) -> Iterator[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield source
        return
    yield f"```python\n{source}\n```"
    for output in cell["outputs"]:
        yield _output(output)


def _output(output: dict[str, Any]) -> str:
    if output["output_type"] == "stream":
        return _text(output["text"])
    data = output.get("data", {})
    if "text/html" in data:
        # A blank line would end the block of HTML.
        return '<div class="output">' + re.sub(r"\n\s*", "\n", "".join(data["text/html"])).strip() + "</div>"
    if "image/png" in data:
        return (
            f'<div class="output"><img alt="" src="data:image/png;base64,{"".join(data["image/png"]).strip()}"></div>'
        )
    if "text/plain" in data:
        return _text(data["text/plain"])
    raise ValueError(f"a page cannot show an output of {sorted(data) or output['output_type']}")


def _text(lines: str | list[str]) -> str:
    return f"```text\n{''.join(lines).rstrip()}\n```"
