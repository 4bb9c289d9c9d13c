"""The command `ebm`: prints help, versions and completions, or runs a verb.

Nothing here imports torch, and only a verb that runs imports Hydra, so that help, versions and completion answer at
once.
"""

import atexit
import gc
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from platform import python_version

from ebm_cli import __version__
from ebm_cli.cli.help import show, verb_page, verbs, verbs_page
from ebm_cli.errors import INTERRUPTED, did_you_mean
from ebm_cli.quoting import shell_word
from ebm_cli.system.library_warnings import log_warnings
from ebm_cli.system.screen import lost_output, protect_screen

WRONG_USE = 2
"""Exit code of a wrong verb or flag."""


def command() -> int:
    """Run `main` as a process of its own, with a screen that cannot fail.

    There is no garbage collection while the process starts and at its exit.

    Imports make half a million objects that stay: the searches for garbage among them take 0.2 s at the start, until
    the verb runs (`cli.task`), and 0.4 s at the exit, where the system takes all memory back anyway.
    """
    gc.disable()
    atexit.register(gc.freeze)
    protect_screen()
    log_warnings()
    try:
        code = main()
    except KeyboardInterrupt:  # while the verb is imported; `cli.hydra_app` handles one that runs
        print("ebm: interrupted", file=sys.stderr)
        code = INTERRUPTED
    sys.stdout.flush()
    lost = lost_output()
    if lost is None:
        return code
    print(f"ebm: a part of the output could not be written ({lost.strerror})", file=sys.stderr)
    # Of these verbs the output is all there is; the others have written files, which are complete.
    return max(code, 1) if sys.argv[1:2] in ([], ["runs"], ["check"]) or "--help" in sys.argv else code


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit code.

    0 done, 1 error, 2 wrong verb or flag, 3 diverged, 4 done and not to be trusted, 130/143 interrupted.

    Args:
        argv: the words behind `ebm`; those of this process by default.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    first = words[0] if words else "--help"
    if first in ("--help", "-h"):
        show(verbs_page())
        return 0
    if first == "--version":
        print(_versions())
        return 0
    if first in ("-sc", "--shell-completion"):
        from ebm_cli.cli.completion import complete

        return complete(words[1:])
    if first not in verbs():
        return _refuse_verb(first)
    rest = words[1:]
    if "--version" in rest:
        print(_versions())
        return 0
    if "--help" in rest or "-h" in rest:
        show(verb_page(first, rest))
        return 0
    from ebm_cli.cli.hydra_app import run
    from ebm_cli.cli.launched import asks_for_launched, run_launched, stray

    if asks_for_launched(rest):
        return run_launched(first, rest, run)
    reason = stray(first, os.environ)
    if reason is not None:
        print(f"ebm: {reason}", file=sys.stderr)
        return 1
    return run(first, rest)


def _refuse_verb(word: str) -> int:
    """Print that there is no such verb. Returns the exit code."""
    if word.startswith("-"):
        known = ("--help", "--version", "--shell-completion")
        message = f"no flag {word!r} before the verb{did_you_mean(word, known)}"
    elif "=" in word:
        message = f"no verb before {word!r}; did you mean ebm train {shell_word(word)}?"
    else:
        message = f"no verb {word!r}{did_you_mean(word, verbs())}"
    print(f"ebm: {message}", file=sys.stderr)
    return WRONG_USE


def _versions() -> str:
    versions = {"ebm": __version__, "python": python_version(), "torch": version("torch")}
    return "\n".join(f"{name} {found}" for name, found in (versions | {"hydra": version("hydra-core")}).items())
