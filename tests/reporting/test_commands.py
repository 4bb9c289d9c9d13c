import io
import subprocess

from rich.console import Console

from ebm_cli.reporting.commands import print_commands, shell_command


def test_a_command_is_quoted_for_hydra_and_the_shell() -> None:
    command = shell_command("sample", {"checkpoint": "r/lr=0.1", "which": "best"}, "-m")
    assert command == "ebm sample \"checkpoint='r/lr=0.1'\" which=best -m"


def test_a_command_longer_than_the_screen_is_not_broken() -> None:
    screen = io.StringIO()
    command = shell_command("sample", {"checkpoint": "a folder/" * 20})
    print_commands(Console(file=screen, width=40), [command])
    assert screen.getvalue() == f"  $ {command}\n"
    words = subprocess.run(
        ["bash", "-c", f"ebm() {{ printf '%s\\n' \"$@\"; }}; {command}"], capture_output=True, text=True
    )
    assert words.stdout.splitlines() == ["sample", f"checkpoint='{'a folder/' * 20}'"]
