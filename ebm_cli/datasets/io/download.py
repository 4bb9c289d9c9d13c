"""Published files: found under a folder, or fetched into it and held against their published checksums."""

import hashlib
import http.client
import os
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path

TIMEOUT = 60.0
"""Seconds without an answer after which a download is given up."""
PIECE = 2**20


def find(root: str, names: Sequence[str], url: str, md5: str, download: bool) -> Path:
    """The first of these files that is in the folder; the last of the names is the published file's.

    Args:
        root: the folder.
        names: what the file may be called.
        url: of the folder that it is published in, ending in a slash.
        md5: its published checksum. Only what is fetched is held against it: a file that somebody packed again is fine.
        download: fetch it if it is not there.

    Raises:
        FileNotFoundError: it is not there; the message says where to put it.
        OSError: it cannot be fetched, or is not what was published.
    """
    folder = Path(root).expanduser()
    found = next((folder / name for name in names if (folder / name).exists()), None)
    if found is not None:
        return found
    published = names[-1]
    if not download:
        raise FileNotFoundError(
            f"root {root} holds no {published}: put that of {url} into {folder.absolute()}, "
            "or fetch it with dataset.download=true"
        )
    fetch(url + published, folder / published, md5)
    return folder / published


def fetch(url: str, to: Path, md5: str) -> None:
    """Write what is published at a http or https address to a file: the whole of it, or nothing.

    Raises:
        OSError: no answer, a refusal, or another checksum.
    """
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise OSError(f"download=true: {url} is no http or https address")
    part = to.with_name(f".{to.name}.{os.getpid()}.part")
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            # Only now: an address that does not answer leaves no folder behind.
            to.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                while piece := answer.read(PIECE):
                    digest.update(piece)
                    file.write(piece)
        if digest.hexdigest() != md5:
            raise OSError(f"it has md5 {digest.hexdigest()}, and {md5} was published: cut short, or another file")
        part.replace(to)
    except (OSError, http.client.HTTPException) as error:
        raise OSError(f"download=true: {url}: {error}") from error
    finally:
        part.unlink(missing_ok=True)
