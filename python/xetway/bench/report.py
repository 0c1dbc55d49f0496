"""A report for people: a table, and the machine it is of."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from xetway.bench.run import Report
from xetway.cli.printable import printable
from xetway.cli.sizes import count, size_text


def show(report: Report, console: Console) -> None:
    """Print the table; names of files are not markup."""
    table = Table(header_style="bold", box=None, pad_edge=False)
    for column in ("data", "stage"):
        table.add_column(column, no_wrap=True)
    for column in ("threads", "GB/s", "from", "to", "CPU s/GB", "stored"):
        table.add_column(column, justify="right", no_wrap=True)
    shown = None
    for result in report.results:
        if shown not in {None, result.data}:
            table.add_section()
        name = "" if result.data == shown else f"{_short(printable(result.data))} ({size_text(result.data_bytes)})"
        shown = result.data
        figures = result.figures
        table.add_row(
            Text(name),
            result.stage,
            str(result.threads),
            _number(figures.gb_per_s),
            _number(figures.gb_per_s_low),
            _number(figures.gb_per_s_high),
            _number(figures.cpu_s_per_gb),
            "" if result.stored_ratio is None else f"{result.stored_ratio:.1%}",
        )
    console.print(table)
    machine = report.machine
    memory = "" if machine.memory_bytes is None else f", {size_text(machine.memory_bytes)}"
    cores = f"{machine.usable_cores} of {machine.cores} cores"
    console.print(
        Text(
            f"\n{machine.cpu} ({' '.join(machine.flags)}), {cores}{memory}; {machine.system}; "
            f"{machine.python}; xetway {machine.xetway}\n"
            f"Medians of {count(report.rounds, 'round')}, from the slowest to the quickest; GB are 10^9 bytes; "
            "CPU time is that of all threads. A caller of hash, publish or reconstruct has all cores."
        )
    )


def _short(name: str) -> str:
    """The name, or its start and its end.

    Example:
        >>> from xetway.bench.report import _short
        >>> _short("model-00001-of-00002.safetensors")
        'model-00…safetensors'
    """
    return name if len(name) <= 20 else f"{name[:8]}…{name[-11:]}"


def _number(value: float) -> str:
    """As many digits as say something.

    Example:
        >>> from xetway.bench.report import _number
        >>> _number(0.12345), _number(12.345), _number(1234.5)
        ('0.12', '12.3', '1234')
    """
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"
