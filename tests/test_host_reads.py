"""The page of what the host reads names every file that does, and no other."""

from tests import host_reads
from tests.host_reads import REASONS, reads_of


def test_every_file_that_reads_has_a_reason() -> None:
    named = [name for reasons in REASONS.values() for name in reasons]
    assert sorted(named) == sorted(host_reads.readers()), "name it in tests/host_reads.py, and say why it reads"


def test_page_of_reads_is_written_from_the_source() -> None:
    assert host_reads.PAGE.read_text(encoding="utf-8") == host_reads.page(), "run `python -m tests.host_reads`"


def test_reads_are_found_in_source() -> None:
    found = reads_of("a = float(x.sum()) + float(3)\nif x.any().item(): b = x.tolist()\nc = int(n)")
    assert found == {"float": 1, "item": 1, "tolist": 1}
