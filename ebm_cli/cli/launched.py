"""`ebm train parallel.ranks=env`, and `ebm evaluate`, in processes that something else has started: srun, or torchrun.

The first one runs the command, writes and prints. The others wait for what it has them do, and print nothing: a mistake
is told once.
"""

import gc
import os
from collections.abc import Callable, Mapping, Sequence

from ebm_cli.cli.error_messages import print_error
from ebm_cli.cli.hydra_app import import_from_current_folder
from ebm_cli.cli.task import Task
from ebm_cli.errors import UserError
from ebm_cli.system.launched import WORD, Place, is_another, place_of

VERBS = ("train", "evaluate")
"""Verbs that several processes do together."""
PRINTS_ONLY = ("--cfg", "-c", "--info", "-i")


def asks_for_launched(words: Sequence[str]) -> bool:
    """True if the words ask for processes that something else has started."""
    return any(word.lstrip("+") == WORD for word in words) and not any(word.startswith(PRINTS_ONLY) for word in words)


def stray(verb: str, variables: Mapping[str, str]) -> str | None:
    """Sentence for a command that torchrun started several times, each of which would do the whole work."""
    if verb not in VERBS or "TORCHELASTIC_RUN_ID" not in variables or variables.get("WORLD_SIZE", "1") == "1":
        return None
    return f"torchrun has started {variables['WORLD_SIZE']} processes: add {WORD} to {verb} one run on all of them"


def run_launched(verb: str, argv: Sequence[str], run: Callable[[str, Sequence[str]], int]) -> int:
    """Run the command in one of its processes. Returns the exit code.

    Args:
        verb: the verb.
        argv: what was typed behind it.
        run: runs a verb, as in a process that is alone.
    """
    # What torch itself prints when a process has died comes after, and hides, the one line that says so.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
    try:
        place = _place(argv)
        if place.index == 0:
            return _in_meeting(place, lambda: run(verb, argv))
        import_from_current_folder()
        gc.enable()  # off while the program starts, see `cli.main.command`
        # torch's threads may abort a process that ends in the ordinary way.
        os._exit(Task(verb).module.accompany(place))
    except UserError as error:
        return UserError.exit_code if is_another(os.environ) else print_error(str(error), UserError.exit_code)


def _place(argv: Sequence[str]) -> Place:
    if {"-m", "--multirun"} & set(argv):
        raise UserError(f"{WORD} is for one run: the jobs of a sweep start their own processes with parallel.ranks=N")
    return place_of(os.environ)


def _in_meeting(place: Place, run: Callable[[], int]) -> int:
    # Imports torch.
    from ebm_cli.system.meeting import Meeting

    with Meeting(place) as meeting:
        code = 1
        try:
            code = run()
        finally:
            meeting.life.leave(code)
        return code
