"""Two helpers of a sweep over the table suite, beside `ebm train experiment=table_suite`.

    python -m tests.table_suite baselines FILE SECONDS [SEEDS [NAMES]]    measure the simple estimators
    python -m tests.table_suite judge FILE DIRECTORY...                   judge the runs under these directories

Each flow trains for SECONDS. SEEDS and NAMES are separated by commas. Tables that FILE holds already, with as much
time, are not measured again.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from ebm_cli.claims import TableRule
from ebm_cli.claims.baseline_store import BaselineStore
from ebm_cli.claims.judge import ClaimsFailed, judge_runs
from ebm_cli.datasets.table_suite.members import MEMBERS
from ebm_cli.runs.record import find


def main(words: Sequence[str]) -> int:
    """Do what the words say; returns an exit code."""
    match words:
        case ["baselines", file, seconds, *rest]:
            seeds = rest[0].split(",") if rest else ["0", "1", "2"]
            names = rest[1].split(",") if len(rest) > 1 else list(MEMBERS)
            for seed in seeds:
                for name in names:
                    best = BaselineStore(file).best(name, int(seed), None, float(seconds), 1)
                    print(f"{name}/{seed}: {best.name} {best.kl:.4f}", flush=True)
        case ["judge", file, directory, *more]:
            runs = [record.path for one in (directory, *more) for record in find(Path(one))]
            try:
                judge_runs({"rule": TableRule(file)}, Path(directory), runs)
            except ClaimsFailed as failed:
                print(failed)
                return 1
        case _:
            print(__doc__)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
