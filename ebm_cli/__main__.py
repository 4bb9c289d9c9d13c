"""The command `ebm`; `python -m ebm_cli` is the same.

It imports nothing before it can say that Ctrl-C has ended it: the imports of `ebm --help` alone take 0.1 s.
"""

import sys


def command() -> int:
    """Run `cli.main.command`, also where it is interrupted while it is imported. Returns the exit code."""
    try:
        from ebm_cli.system.early_interrupt import end_at_once

        end_at_once()
        from ebm_cli.cli.main import command as run

        return run()
    except KeyboardInterrupt:
        print("ebm: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(command())
