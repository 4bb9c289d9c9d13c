"""Published files: found in a folder, or downloaded into it and verified by their published checksums."""

import hashlib
import http.client
import os
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from ebm_cli.system.home import expanded

TIMEOUT = 60.0
"""Seconds without an answer after which a download fails."""
PIECE = 2**20
"""Bytes that are read and written at a time."""


def find(root: str, names: Sequence[str], url: str, md5: str, download: bool) -> Path:
    """Find the first of these files in the folder, or download it.

    Args:
        root: the folder.
        names: possible names of the file; the last one is the name that it is published under.
        url: of the folder that it is published in, ending in a slash.
        md5: its published checksum. Only a download is verified, because a user may have repacked the file.
        download: download the file if it is missing.

    Raises:
        FileNotFoundError: the file is missing; the message says where to put it.
        OSError: the file cannot be downloaded, or differs from the published one.
    """
    folder = expanded(root)
    found = next((folder / name for name in names if (folder / name).exists()), None)
    if found is not None:
        return found
    published = names[-1]
    if not download:
        raise FileNotFoundError(
            f"root {root} holds no {published}: put that of {url} into {folder.absolute()}, "
            "or download it with dataset.download=true"
        )
    fetch(url + published, folder / published, md5)
    return folder / published


def fetch(url: str, to: Path, md5: str) -> None:
    """Download a file from an http or https address, completely or not at all.

    Raises:
        OSError: no answer, an error, or another checksum.
    """
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise OSError(f"download=true: {url} is not an http or https address")
    part = to.with_name(f".{to.name}.{os.getpid()}.part")
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            # Created only here, so that an address without an answer leaves no folder behind.
            to.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                while piece := answer.read(PIECE):
                    digest.update(piece)
                    file.write(piece)
        if digest.hexdigest() != md5:
            raise OSError(
                f"the download has md5 {digest.hexdigest()} instead of the published {md5}: "
                "it is truncated, or another file"
            )
        part.replace(to)
    except (OSError, http.client.HTTPException) as error:
        raise OSError(f"download=true: {url}: {error}") from error
    finally:
        part.unlink(missing_ok=True)
