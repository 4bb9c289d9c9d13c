"""mkdocs' hook: a line `<!-- generated: NAME -->` of a page becomes what `tests.site.generated` writes for NAME."""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.site.generated import filled


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page's text with its generated parts."""
    return filled(markdown, page.file.src_uri)
