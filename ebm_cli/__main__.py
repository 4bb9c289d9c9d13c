"""`python -m ebm_cli` is `ebm`."""

import sys

from ebm_cli.cli.main import command

if __name__ == "__main__":
    sys.exit(command())
