"""What the commands write to the terminal: one console, one progress bar, one way to fail."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


class RateColumn(ProgressColumn):
    """Steps per second."""

    def render(self, task: Task) -> Text:
        """Return the rate of the last seconds."""
        return Text(f"{task.speed or 0:,.0f}/s")


def progress_bar() -> Progress:
    """A bar with count, rate and time left, on stderr so that stdout stays clean."""
    return Progress(
        TextColumn("{task.description}", markup=False),  # a channel may be called [/b]
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
        console=errors,
        disable=not errors.is_terminal,
    )


def warn_of(sentence: str | None) -> None:
    """Say what is worth a thought, if anything; the command goes on."""
    if sentence is not None:
        errors.print(f"warning: {sentence}", style="yellow", markup=False)


def fail(sentence: str) -> int:
    """Say what went wrong; return the exit code."""
    errors.print(sentence, style="red", markup=False)
    return 1
