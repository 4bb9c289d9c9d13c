"""The progress of a run: plain lines, or a live bar."""

import pytest

from ebm_cli.reporting.progress import Progress
from tests.reporting.support import output_of, terminal


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the progress sees, as the one element of a list."""
    now = [100.0]
    monkeypatch.setattr("ebm_cli.reporting.progress.time.monotonic", lambda: now[0])
    return now


def test_progress_prints_plain_lines_where_there_is_no_terminal() -> None:
    screen = terminal()
    with Progress(1000, every=250, console=screen) as progress:
        for step in range(50, 1001, 50):
            progress.update(step, {"loss": 0.5, "eval/kl": 0.01})
    lines = output_of(screen).splitlines()
    assert [line.split()[1] for line in lines] == ["50/1000", "250/1000", "500/1000", "750/1000", "1000/1000"]
    assert all("loss 0.5000" in line and "eval/kl 0.01000" in line and "steps/s" in line for line in lines)
    assert "\x1b" not in output_of(screen)


def test_bar_is_drawn_at_most_ten_times_a_second(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    screen = terminal(live=True)
    with Progress(10_000, console=screen) as progress:
        update = progress._bar.update

        def counted(*args: object, **kwargs: object) -> None:
            drawn.append(1)
            update(*args, **kwargs)  # type: ignore[arg-type]

        monkeypatch.setattr(progress._bar, "update", counted)
        for step in range(1, 5001):
            clock[0] += 0.001
            progress.update(step, {"loss": 0.5})
    assert 45 <= len(drawn) <= 51
    assert "1 000 steps/s" in output_of(screen)


def test_progress_shows_speed_and_time_left(clock: list[float]) -> None:
    screen = terminal()
    progress = Progress(2000, start=1000, every=100, console=screen)
    clock[0] += 2.0
    progress.update(1100, {})
    assert "50.00 steps/s  18 s left" in output_of(screen)


def test_message_keeps_its_brackets() -> None:
    screen = terminal()
    Progress(10, console=screen).message("wrote [last.pt]")
    assert output_of(screen) == "wrote [last.pt]\n"


@pytest.mark.parametrize(("steps", "every", "name"), [(0, 1, "steps"), (10, 0, "every")])
def test_progress_rejects_numbers_below_one(steps: int, every: int, name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be >= 1, got 0"):
        Progress(steps, every=every)


@pytest.mark.parametrize("width", [20, 40, 60, 200])
def test_a_narrow_bar_shows_whole_numbers(clock: list[float], width: int) -> None:
    screen = terminal(width, live=True)
    with Progress(8000, console=screen) as progress:
        clock[0] += 1.0
        progress.update(1234, {"loss": 0.123456, "eval/kl": 0.00123456})
    text = output_of(screen)
    assert "1,234/8,000" in text
    assert "…" not in text
    assert ("loss 0.1235" in text) == (width >= 40)
    assert ("eval/kl 0.001235" in text) == (width >= 60)
