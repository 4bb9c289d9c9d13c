"""Commands to type next, as lines that run when they are pasted: quoted, and never broken."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.text import Text

from ebm_cli.quoting import Typed, override, shell_word


def shell_command(verb: str, overrides: Mapping[str, Typed] | None = None, *flags: str) -> str:
    """The command `ebm VERB KEY=VALUE … FLAG …`, quoted for Hydra's grammar and for the shell.

        shell_command("sample", {"checkpoint": "r/lr=0.1"})  →  ebm sample "checkpoint='r/lr=0.1'"

    Args:
        verb: name of the verb.
        overrides: key → value; a list is a list of Hydra, None is null.
        flags: such as -m.
    """
    return shell_line("ebm", verb, *(override(key, value) for key, value in (overrides or {}).items()), *flags)


def shell_line(*words: str) -> str:
    """Words as one line of a shell, each quoted where it has to be."""
    return " ".join(map(shell_word, words))


def print_commands(console: Console, commands: Sequence[str]) -> None:
    """Print commands, one a line. A terminal may wrap a long one, which leaves it whole when it is copied."""
    for command in commands:
        # Not broken by rich, which would put a line break or a border into the middle of a word.
        console.print(Text.assemble(("  $ ", "dim"), (command, "bold")), soft_wrap=True)
