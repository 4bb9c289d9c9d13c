"""A command's screen: pipes that close, full devices, closed streams and narrow encodings."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ebm_cli.system.screen import protect_screen

SCRIPT = """
import sys
from pathlib import Path
from ebm_cli.system.screen import lost_output, protect_screen
protect_screen()
for _ in range(200):
    print("a → b ± 1 ‖x‖² σ é …" * 10, flush=True)
print("error σ", file=sys.stderr)
Path("ended").write_text(str(getattr(lost_output(), "strerror", None)))
"""


def ended(tmp_path: Path, redirection: str, **environment: str) -> tuple[int, str, bytes, bytes]:
    """Run the script in a shell: exit code, what it says of its output, stdout and stderr."""
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    command = f"{sys.executable} script.py {redirection}; exit ${{PIPESTATUS[0]}}"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    ran = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=env, capture_output=True, check=False)
    return ran.returncode, (tmp_path / "ended").read_text(), ran.stdout, ran.stderr


@pytest.mark.parametrize(
    ("redirection", "lost"),
    [
        ("", "None"),
        ("| head -n 1", "None"),
        ("> /dev/full", "No space left on device"),
        (">&-", "None"),
        (">&- 2>&-", "None"),
        ("<&- >&- 2>&-", "None"),
        ("2> /dev/full", "None"),
    ],
)
def test_a_screen_that_fails_does_not_end_the_command(tmp_path: Path, redirection: str, lost: str) -> None:
    code, said, _, _ = ended(tmp_path, redirection)
    assert (code, said) == (0, lost)


@pytest.mark.parametrize(
    ("encoding", "line"),
    [
        ("ascii", b"a -> b +- 1 ||x||^2 sigma e ..."),
        ("latin-1", "a -> b ± 1 ||x||² sigma é ...".encode("latin-1")),
        ("utf-8", "a → b ± 1 ‖x‖² σ é …".encode()),
    ],
)
def test_characters_that_an_encoding_lacks_are_spelled(tmp_path: Path, encoding: str, line: bytes) -> None:
    code, _, out, err = ended(tmp_path, "", PYTHONIOENCODING=encoding)
    assert code == 0
    assert out.splitlines()[0] == line * 10
    assert err.split() == [b"error", "σ".encode(encoding) if encoding == "utf-8" else b"sigma"]


def test_a_closed_stream_gives_no_file_its_number(tmp_path: Path) -> None:
    """The text of a library on descriptor 1 would go into the first file that the command opens."""
    ended(tmp_path, ">&- <&-")
    script = tmp_path / "opens.py"
    script.write_text(
        "from ebm_cli.system.screen import protect_screen\n"
        "import os\nprotect_screen()\nfile = open('f', 'w')\nos.write(1, b'noise')\nfile.write('own')\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(["bash", "-c", f"{sys.executable} opens.py >&- <&-"], cwd=tmp_path, env=env, check=True)
    assert (tmp_path / "f").read_text() == "own"


def test_the_stream_of_a_notebook_is_left_alone() -> None:
    before = sys.stdout, sys.stderr
    protect_screen()
    assert (sys.stdout, sys.stderr) == before
