"""``kayrx demo``: a real model's answer, or a real file's figures, through one graph in the terminal."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kayrx.cli import second_interrupt_leaves
from kayrx.demo.analytics import Totals, analytics_graph, levels, opened, words
from kayrx.demo.answer import QUEUE, Answer, on_a_page
from kayrx.demo.model import LocalModel, ModelError
from kayrx.errors import KayrxError

PROMPT = "Write a short story about a river that learns to wait."
SHOWN = 12       # rows of the table
REFRESH = 0.1    # seconds between two drawings of the table


def demo(
    prompt: Annotated[str | None, typer.Argument(help=f"What to ask the model (default: {PROMPT})",
                                                 show_default=False)] = None,
    web: Annotated[bool, typer.Option("--web", help="Also show the answer on a page.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The page's port on 127.0.0.1; 0: any.")] = 8000,
    max_tokens: Annotated[int, typer.Option(min=1, help="The longest answer, in tokens.")] = 128,
    file: Annotated[Path | None, typer.Option("--input", exists=True, dir_okay=False, readable=True,
                                              help="Count the words, or the log levels, of this file; "
                                                   "no model.")] = None,
    window: Annotated[int | None, typer.Option(min=1, show_default=False,
                                               help="With --input: keys a window (default: 1000 words or "
                                                    "100 levels).")] = None,
) -> None:
    """Stream a local model's answer, or count a file's words, through one graph.

    Ends with the graph's plan and the figures of its run.
    """
    if file is not None and (prompt is not None or web):
        raise typer.BadParameter("give either a prompt (with --web if you like) or --input")
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")    # a terminal without emoji is no reason to fail
    try:
        if file is None:
            ask(prompt or PROMPT, max_tokens, port if web else None)
        else:
            anyio.run(analyse, file, window)
    except (KayrxError, ModelError, UnicodeError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            raise    # typer ends quietly when nobody reads what is printed
        typer.echo(f"error: {f'{file}: ' if file and isinstance(error, UnicodeError) else ''}{error}", err=True)
        raise typer.Exit(1) from None


def ask(prompt: str, max_tokens: int, port: int | None) -> None:
    """Load the model, stream its answer, and print what happened."""
    with LocalModel() as model:
        anyio.run(answered, model, prompt, max_tokens, port)


async def answered(model: LocalModel, prompt: str, max_tokens: int, port: int | None) -> None:
    second_interrupt_leaves()
    answer = Answer(model, prompt, max_tokens=max_tokens, write=partial(typer.echo, nl=False))
    typer.echo(f"> {prompt}\n")
    if port is None:
        await answer.run()
    else:
        await on_a_page(answer, port, lambda address: typer.echo(f"open {address} and the answer begins\n"))
    figures, counts = answer.figures, answer.counts
    typer.echo(
        f"\n\n{figures.tokens} tokens, {number(figures.tokens_per_second)} a second, the first after "
        f"{number(figures.first_token_ms)} ms; {counts.sentences} sentences, {counts.words} words; "
        f"queue depth at most {answer.deepest} of {QUEUE}"
    )
    summary(answer.graph, answer.handle)


async def analyse(file: Path, window: int | None) -> None:
    """Count the file, window by window: in a table that moves, or in lines if nobody watches."""
    second_interrupt_leaves()
    console = Console()
    lines, log = await opened(file)
    name = "log levels" if log else "words"
    with ExitStack() as display:
        if console.is_terminal:
            # No refresh thread: it is drawn when the graph says so.
            live = display.enter_context(Live(console=console, auto_refresh=False))

            def report(totals: Totals) -> None:
                live.update(table(totals, f"{name} of {file.name}"), refresh=True)
        else:
            def report(totals: Totals) -> None:
                typer.echo(line(totals, name))

        graph = analytics_graph(lines, levels if log else words, report,
                                window=window or (100 if log else 1000),
                                every=REFRESH if console.is_terminal else None)
        async with graph.start() as run:
            pass
    summary(graph, run)


def line(totals: Totals, name: str) -> str:
    """The totals in one line."""
    top = ", ".join(f"{key} {count}" for key, count in totals.counts.most_common(5))
    return f"window {totals.windows}: {totals.items} {name}, {len(totals.counts)} different; {top}"


def table(totals: Totals, title: str) -> Table:
    """The totals as a table: the most frequent keys, their share, and the newest window alone."""
    drawn = Table(title=f"{title}: {totals.items} in {totals.windows} windows, "
                        f"{len(totals.counts)} different", title_justify="left", box=None, pad_edge=False)
    drawn.add_column("", no_wrap=True)
    for heading in ("count", "share", "newest window"):
        drawn.add_column(heading, justify="right")
    drawn.add_column("")
    top = totals.counts.most_common(SHOWN)
    for key, count in top:
        bar = "█" * max(1, round(24 * count / top[0][1]))
        drawn.add_row(Text(key, style="bold"), f"{count}", f"{count / totals.items:.1%}",
                      f"{totals.newest[key]}", Text(bar, style="blue"))
    return drawn


def summary(graph: Any, run: Any) -> None:
    """Print the plan, and the figures of the run."""
    metrics = run.metrics()
    typer.echo(f"\n{graph.explain()}\n\nrun: {metrics.state} after {metrics.seconds:.2f} s")
    for gate in metrics.gates:
        typer.echo(f"  gate {gate.name}: {gate.passed} passed, {gate.dropped} dropped, "
                   f"{gate.depth} of {gate.size} waiting")


def number(value: float | None) -> str:
    """A figure without decimals, or a dash where there is none."""
    return "–" if value is None else f"{value:.0f}"


__all__ = ["demo"]
