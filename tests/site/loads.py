"""Check of a built site: no page loads anything from elsewhere.

    python -m tests.site.loads site

A link that a reader may click is no load. Diagrams are refused, too: the theme's script would fetch what draws them.
"""

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

LOADING = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "video": "src"}
LOADING |= {"audio": "src", "object": "data", "embed": "src", "use": "href"}
STAYS = {"canonical", "prev", "next", "alternate"}
"""Values of a link's `rel` with which a browser fetches nothing."""
ELSEWHERE = re.compile(r"(?:https?:)?//", re.IGNORECASE)
CSS = re.compile(r"""(?:url\(\s*['"]?|@import\s+['"])((?:https?:)?//[^'")\s]+)""", re.IGNORECASE)


class _Loads(HTMLParser):
    """Collects the addresses that a browser fetches to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        addresses = [values.get(LOADING.get(tag, ""), ""), *re.split(r",\s*", values.get("srcset", ""))]
        if tag == "link" and values.get("rel") in STAYS:
            addresses = []
        self.found += [address for address in addresses if ELSEWHERE.match(address)]
        self.found += CSS.findall(values.get("style", ""))
        if "mermaid" in values.get("class", "").split():
            self.found.append("a diagram of class mermaid")


def loads_of(html: str) -> list[str]:
    """Addresses elsewhere that a page loads: by its tags and by the styles within it."""
    parser = _Loads()
    parser.feed(html)
    return parser.found + CSS.findall(" ".join(re.findall(r"<style.*?</style>", html, re.DOTALL)))


def check(site: Path) -> Iterator[str]:
    """One line for each load from elsewhere in the pages and style sheets of a built site."""
    for path in sorted(site.rglob("*.html")):
        yield from (f"{path}: loads {address}" for address in loads_of(path.read_text(encoding="utf-8")))
    for path in sorted(site.rglob("*.css")):
        yield from (f"{path}: loads {address}" for address in CSS.findall(path.read_text(encoding="utf-8")))


def main(site: Path) -> int:
    """Print what is loaded from elsewhere; 1 if anything is, or if there is no page."""
    found = list(check(site)) if (site / "index.html").is_file() else [f"{site}: no index.html; run `make docs`"]
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "site")))
