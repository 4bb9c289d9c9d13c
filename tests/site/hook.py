"""mkdocs' hook: generated parts of pages, and notebooks as pages.

A line `<!-- generated: NAME -->` of a page becomes what `tests.site.generated` writes for NAME. A notebook `NAME.ipynb`
is also the page `NAME.md`, to which the site's links lead. A picture leads to itself in full size.
"""

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.site import notebook
from tests.site.generated import filled


def on_files(files: Any, config: Any, **_: Any) -> None:
    """Adds the page of each notebook."""
    for file in [one for one in files if one.src_uri.endswith(".ipynb")]:
        name = file.src_uri.removesuffix(".ipynb") + ".md"
        files.append(File.generated(config, name, content=notebook.page(file.content_string)))


def on_page_content(html: str, **_: Any) -> str:
    """The page with each picture of a file in a link to that file, whose text a phone can then enlarge."""
    return re.sub(r'(?<!">)(<img [^>]*?src="((?!data:)[^"]+)"[^>]*>)', r'<a href="\2">\1</a>', html)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page's text with its generated parts, its links to notebooks leading to their pages."""
    return re.sub(r"(\]\([^)\s]+)\.ipynb\)", r"\1.md)", filled(markdown, page.file.src_uri))
