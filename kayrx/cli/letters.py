"""``kayrx letters``: look at dead letters, send them in again, and take them elsewhere."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from kayrx.cli.targets import named
from kayrx.errors import KayrxError
from kayrx.graph.graph import Graph
from kayrx.graph.node import Opens
from kayrx.io import records
from kayrx.io.codecs import json_codec
from kayrx.io.letters import json_letters, sqlite_letters
from kayrx.nodes.guards import DeadLetter
from kayrx.nodes.letters import Letter, Replayed, Unread
from kayrx.plan.reentry import Reentries

SHOWN = 70    # characters of an item or error in a list

letters = typer.Typer(name="letters", no_args_is_help=True, help="Dead letters: items that failed for good.")

Target = Annotated[str, typer.Argument(metavar="APP:GRAPH", help="The module and the graph in it, as in `app:graph`.")]
Store = Annotated[Path | None, typer.Option(
    "--store", help="The file, if the graph has several stores: JSON lines if it ends in .jsonl, else SQLite.")]
Node = Annotated[str | None, typer.Option("--node", help="Only letters of this node: `g.parse`, or `parse` alone.")]
Kind = Annotated[str | None, typer.Option("--error", help="Only letters of this type of error, as in `ValueError`.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Only so many of them.")]
Done = Annotated[bool, typer.Option("--done", help="Those that are done instead of those that are open.")]


class Choice:
    """The letters that the options of a command ask for."""

    def __init__(self, node: str | None, kind: str | None, ids: list[str] | None = None) -> None:
        self.node, self.kind, self.ids = node, kind, ids

    def __call__(self, letter: Letter) -> bool:
        return (self.node is None or f".{letter.node}".endswith(f".{self.node}")) and self.kind in (None, letter.kind) \
            and (not self.ids or letter.id in self.ids)


@contextmanager
def told() -> Iterator[None]:
    """An error that the user can do something about is one line, and ends the command with 1."""
    try:
        yield
    except BrokenPipeError:
        raise  # who read has seen enough (`| head`)
    except (KayrxError, OSError, LookupError, sqlite3.Error) as error:
        say("; ".join([f"error: {error}", *getattr(error, "__notes__", ())]), err=True)
        raise typer.Exit(1) from None


def say(text: str, *, err: bool = False) -> None:
    """Write a line, of whatever characters: an item may have half a surrogate pair in it."""
    typer.echo(text.encode(errors="backslashreplace").decode(), err=err)


def graph_at(target: str) -> Graph[Any, Any]:
    """The graph named by ``app:graph``; a function without arguments is called for it."""
    found = named(target)
    found = found if isinstance(found, Graph) or not callable(found) else found()
    if not isinstance(found, Graph):
        raise typer.BadParameter(f"{target} is a {type(found).__name__}, not a graph")
    return found


def store_of(graph: Graph[Any, Any], path: Path | None) -> Any:
    """The store that the graph's guards write to, or the one in the file."""
    stores = {guard.store for step in Reentries(graph.nodes).laid for guard in step.guards
              if isinstance(guard, DeadLetter) and isinstance(guard.store, Opens)}
    named = {str(getattr(store, "path", store)): store for store in stores}
    if path is not None:
        if not path.exists():
            raise typer.BadParameter(f"there is no file {str(path)!r}")
        return named.get(str(path)) or (json_letters if path.suffix == ".jsonl" else sqlite_letters)(path)
    if len(named) != 1:
        raise typer.BadParameter(f"the graph has {len(named)} stores on disk{': ' if named else ''}"
                                 f"{', '.join(sorted(named))}; say which: --store PATH")
    (store,) = stores
    return store


@letters.command("list")
def list_letters(target: Target, store: Store = None, node: Node = None, error: Kind = None,
                 limit: Limit = None, done: Done = False) -> None:
    """List letters, the oldest first."""
    with told():
        count, what = 0, "done" if done else "open"
        for letter in filter(Choice(node, error), store_of(graph_at(target), store).items(done)):
            if count == limit:
                typer.echo(f"the first {count} {what}")
                return
            count += 1
            say(f"{letter.id}\n    {short(item_text(letter))}\n    {short(f'{letter.kind}: {letter.error}')}"
                f"; {letter.attempts} attempt{'s' * (letter.attempts != 1)}, {moment(letter)}")
        typer.echo(f"{count} {what}")


@letters.command("show")
def show_letter(target: Target, key: Annotated[str, typer.Argument(metavar="ID")], store: Store = None) -> None:
    """Show all that is known of one letter."""
    with told():
        letter = next((x for x in store_of(graph_at(target), store).items(None) if x.id == key), None)
        if letter is None:
            raise LookupError(f"there is no letter {key!r} in the store")
        for name, value in fields(letter).items():
            say(f"{name + ':':<10} {value}" if "\n" not in str(value) else f"{name}:\n{value}")


@letters.command("replay")
def replay_letters(
    target: Target,
    ids: Annotated[list[str] | None, typer.Argument(
        metavar="[ID]...", help="Only these; all open ones without.")] = None,
    store: Store = None, node: Node = None, error: Kind = None,
    graph: Annotated[str | None, typer.Option("--graph", help="The name under which the letters are filed, if the "
                                                              "graph has another one now.")] = None,
) -> None:
    """Send letters in again, each at the node that failed.

    Ends with 1 if a letter failed again or had to stay.
    """
    with told():
        found = graph_at(target)
        what = store_of(found, store)
        if unknown := {*(ids or ())} - {letter.id for letter in what.items()}:
            raise LookupError(f"there is no open letter {', '.join(sorted(map(repr, unknown)))} in the store")
        report: Replayed = found.replay(what, where=Choice(node, error, ids), graph=graph)
        typer.echo(f"{report.done} done, {report.again} failed again, {report.left} left; "
                   f"{report.others} of other graphs")
        if report.left:
            for why, count in reasons(found, filter(Choice(node, error, ids), what.items()), graph).items():
                say(f"left: {count} {why}")
        if report.again or report.left:
            raise typer.Exit(1)


def reasons(graph: Graph[Any, Any], left: Iterator[Letter], name: str | None) -> Counter[str]:
    """Why letters of a graph stay as they were, and how many."""
    entries = Reentries(graph.nodes).entries
    ours = {name} if name is not None else {known for entry in entries.values() for known in entry.graphs}
    has = ", ".join(map(repr, entries))
    found: Counter[str] = Counter()
    for letter in left:
        if letter.graph not in ours:
            continue
        if letter.node not in entries:
            found[f"of the node {letter.node!r}, which the graph does not have; those with letters are {has}"] += 1
        elif isinstance(letter.item, Unread):
            found[f"of which only a text was kept ({letter.item.form}): replay them by hand, then mark_done(id)"] += 1
    return found


@letters.command("export")
def export_letters(
    target: Target, store: Store = None, node: Node = None, error: Kind = None, done: Done = False,
    output: Annotated[Path | None, typer.Option("--output", help="A file instead of the terminal.")] = None,
) -> None:
    """Write letters as JSON lines, for other programs."""
    with told(), (output.open("w", encoding="utf-8") if output else nothing_to_close()) as file:
        for letter in store_of(graph_at(target), store).items(done):
            if Choice(node, error)(letter):
                form, text, _ = records.form_of(letter.item, json_codec)
                item = json.loads(text) if letter.replayable and form == json_codec.name else None
                shown = {} if item is not None or text == "null" else {"item_text": item_text(letter)}
                typer.echo(json.dumps({**fields(letter), "item": item, **shown}), file=file)


@contextmanager
def nothing_to_close() -> Iterator[None]:
    yield None


def fields(letter: Letter) -> dict[str, Any]:
    """A letter by its fields, all of them plain."""
    return {"id": letter.id, "graph": letter.graph, "node": letter.node, "failed_at": letter.failed_at,
            "item": item_text(letter), "error": f"{letter.kind}: {letter.error}", "attempts": letter.attempts,
            "time": moment(letter), **letter.context, "traceback": letter.traceback}


def item_text(letter: Letter) -> str:
    """The item as it would be written; marked where only a text of it was kept."""
    if letter.replayable:
        return records.shown(letter.item)
    return f"[{letter.item.form} only] {letter.item}"


def short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else text[:SHOWN - 1] + "…"


def moment(letter: Letter) -> str:
    return datetime.fromtimestamp(letter.time, UTC).strftime("%Y-%m-%d %H:%M:%S")


__all__ = ["letters"]
