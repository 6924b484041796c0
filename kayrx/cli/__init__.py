"""The ``kayrx`` command; each of its commands is a file beside this one.

Importing this module loads nothing: what takes time is imported inside `main`, where Ctrl-C is caught.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

INTERRUPTED = 130    # what shells expect of a program that was ended by Ctrl-C: 128 + SIGINT


def app() -> typer.Typer:
    """The application with all its commands."""
    import typer

    from kayrx.cli.demo import demo
    from kayrx.cli.letters import letters
    from kayrx.cli.serve import serve

    application = typer.Typer(name="kayrx", no_args_is_help=True, add_completion=False)

    @application.callback()
    def kayrx() -> None:
        """Reactive streams for Python: graphs of nodes with bounded memory."""

    application.command()(demo)
    application.command()(serve)
    application.add_typer(letters)
    return application


def main() -> None:
    """The entry point; Ctrl-C at any moment ends it with 130 and without a traceback."""
    try:
        app()()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except ImportError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.exit(f"the kayrx command needs {error.name}: pip install kayrx[cli]")
    finally:
        signal.signal(signal.SIGINT, _leave)


def second_interrupt_leaves() -> None:
    """Let the first Ctrl-C cancel what runs on this loop, and a second end the process at once.

    Call it on the loop, whose own handler it keeps for the first.  By itself that handler raises
    KeyboardInterrupt at the second, wherever the program is: in the middle of letting go.
    """
    cancel = signal.getsignal(signal.SIGINT)

    def first(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, _leave)
        if callable(cancel):
            cancel(number, frame)

    signal.signal(signal.SIGINT, first)


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)


__all__ = ["app", "main", "second_interrupt_leaves"]
