"""Completion for bash: verbs, groups, options, keys and flags, read from the config tree.

eval "$(ebm -sc install=bash)"
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ebm_cli.cli.help import config_dir, verbs
from ebm_cli.config.groups import group_options, search_path, verb_groups, verb_keys

COMPLETED_FLAGS = ("--help", "--cfg", "--info", "--multirun", "--config-dir", "--hydra-help", "--version")

# bash breaks words at = and :, and replaces only what follows them, so that the part before is cut off each answer.
_INSTALL = """\
_ebm_complete() {
    local cur="${COMP_LINE:0:$COMP_POINT}" line; cur="${cur##* }"
    local strip="${cur%"${cur##*[=:]}"}"
    COMPREPLY=()
    while IFS= read -r line; do
        [ -n "$line" ] && COMPREPLY+=("${line#"$strip"}")
    done < <(COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" ebm -sc query=bash)
    [ "${#COMPREPLY[@]}" -eq 1 ] && case "${COMPREPLY[0]}" in *[=./]) compopt -o nospace;; esac
}
complete -o default -F _ebm_complete ebm"""

_UNINSTALL = "complete -r ebm; unset -f _ebm_complete"


def complete(words: Sequence[str]) -> int:
    """Run `ebm -sc install=bash`, `uninstall=bash`, or `query=bash` with bash's COMP_LINE and COMP_POINT."""
    word = words[0] if len(words) == 1 else ""
    if word == "query=bash":
        line = os.environ.get("COMP_LINE", "")
        print("\n".join(candidates(line[: int(os.environ.get("COMP_POINT", len(line)))])))
        return 0
    scripts = {"install=bash": _INSTALL, "uninstall=bash": _UNINSTALL}
    if word not in scripts:
        print("ebm: -sc takes install=bash, uninstall=bash or query=bash; no other shell is supported", file=sys.stderr)
        return 2
    print(scripts[word])
    return 0


def candidates(line: str) -> list[str]:
    """Completions of the last word of the line, which may be empty."""
    words = line.split()[1:]
    word = "" if not words or line[-1:].isspace() else words.pop()
    if not words:
        return [verb for verb in (*verbs(), "--help", "--version") if verb.startswith(word)]
    verb, typed = words[0], words[1:]
    if verb not in verbs():
        return []
    folders = search_path(config_dir(typed))
    if word.startswith("-"):
        return [flag for flag in COMPLETED_FLAGS if flag.startswith(word)]
    name, equals, value = word.partition("=")
    groups = verb_groups(verb, folders)
    if equals:
        folder = next((group.folder for group in groups if name in (group.name, group.package)), None)
        return _options(name, folder, value, folders) if folder else []
    keys = [key.name for key in verb_keys(verb, typed, folders)]
    keys += ["jobs"] if {"-m", "--multirun"} & set(typed) else []
    keys += ["replicas"] if verb == "train" else []
    return sorted(f"{known}=" for known in {group.package for group in groups} | set(keys) if known.startswith(word))


def _options(name: str, folder: str, value: str, folders: Sequence[Path]) -> list[str]:
    """Completions of `method=nce`; of the values of a sweep only the last, behind the comma, is completed."""
    done, comma, part = value.rpartition(",")
    return [f"{name}={done}{comma}{option}" for option in group_options(folder, folders) if option.startswith(part)]
