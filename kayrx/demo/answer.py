"""The main job: the tokens of a model, through one graph, to a terminal and to a page.

    model > queue > show            each token, as it comes
                      > sentences > counters > report

The queue is the bound between the model and whoever shows its words.  A page reads the `Story` of the
answer, which keeps every event (there are few: `max_tokens` bounds them), so a page that opens late or
connects again sees all of it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import NamedTuple, Never

import anyio
from reactivex import of, operators

import kayrx as kx
from kayrx.demo.model import LocalModel

QUEUE = 16
END: None = None    # follows the last token, and lets the last sentence go


class Cut(NamedTuple):
    """Text that is no sentence yet, and the sentences that the newest token has completed."""

    rest: str
    complete: tuple[str, ...]


class Counts(NamedTuple):
    """The newest sentence, and how many sentences and words there are up to it."""

    sentence: str
    sentences: int
    words: int


class Figures(NamedTuple):
    """How the answer flows at this moment; None while there is nothing to measure."""

    tokens: int
    tokens_per_second: float | None
    first_token_ms: float | None
    queue_depth: int


BOUNDARY = re.compile(r"""[.!?…]+["'”’)\]]*\s+|\n+""")
LIST_NUMBER = re.compile(r"\W*\d+[.)]")


def cut(before: Cut, piece: str | None) -> Cut:
    """The next token joined to the rest, and what is a whole sentence now.  ``END`` completes the rest.

    A number that opens a list item ("2. ") is no sentence of its own.

    >>> cut(Cut("It is so. Is ", ()), "it? ")
    Cut(rest='', complete=('It is so.', 'Is it?'))
    """
    text, complete, start = before.rest + (piece or ""), [], 0
    for boundary in BOUNDARY.finditer(text):
        sentence = text[start:boundary.end()].strip()
        if not LIST_NUMBER.fullmatch(sentence):
            complete.append(sentence)
            start = boundary.end()
    rest = text[start:]
    if piece is END:
        complete.append(rest.strip())
        rest = ""
    return Cut(rest, tuple(filter(None, complete)))


def add(before: Counts, sentence: str) -> Counts:
    """The counts with one sentence more."""
    return Counts(sentence, before.sentences + 1, before.words + len(sentence.split()))


def answer_graph(tokens: Callable[[], AsyncIterator[str]], show: Callable[[str], object],
                 report: Callable[[Counts], object]) -> kx.Sink[Never, None]:
    """The graph of one answer: ``show`` gets each token, ``report`` each sentence with the counts."""
    return (
        kx.source(tokens).named("model")
        >> kx.backpressure(QUEUE).named("queue")
        >> kx.tap(show).named("show")
        >> kx.rx(operators.concat(of(END)), max_burst=1).named("end of text")
        >> kx.scan(cut, Cut("", ())).named("sentences")
        >> kx.flat_map(completed).named("each")
        >> kx.scan(add, Counts("", 0, 0)).named("counters")
        >> kx.sink(report)
    )


def completed(state: Cut) -> tuple[str, ...]:
    """The sentences that have become whole."""
    return state.complete


class Story:
    """Named events in their order, for any number of readers, each from the first event to the last."""

    def __init__(self) -> None:
        self._events: list[tuple[str, object]] = []
        self._closed = False
        self._readers = 0
        self._news, self._left, self._opened = anyio.Event(), anyio.Event(), anyio.Event()

    def tell(self, name: str, value: object) -> None:
        """One event more."""
        self._events.append((name, value))
        self._wake()

    def close(self) -> None:
        """No event comes after this; readers end once they have read the last."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    async def read(self) -> AsyncIterator[tuple[str, object]]:
        """All events from the first on; waits for those that are still to come."""
        self._opened.set()
        self._readers += 1
        try:
            position = 0
            while True:
                news = self._news
                while position < len(self._events):
                    yield self._events[position]
                    position += 1
                if self._closed:
                    return
                await news.wait()
        finally:
            self._readers -= 1
            if not self._readers:
                self._left.set()
                self._left = anyio.Event()

    async def opened(self) -> None:
        """Wait for the first reader."""
        await self._opened.wait()

    async def left(self) -> None:
        """Wait until nobody reads."""
        while self._readers:
            await self._left.wait()


class Answer:
    """One question to the model and what becomes of it: its graph, its run, its story and figures."""

    def __init__(self, model: LocalModel, prompt: str, *, max_tokens: int = 128,
                 write: Callable[[str], object] = lambda piece: None,
                 clock: Callable[[], float] = anyio.current_time) -> None:
        self.graph = answer_graph(partial(model.tokens, prompt, max_tokens=max_tokens),
                                  self._token, self._sentence)
        self.counts = Counts("", 0, 0)
        self.deepest = 0
        self.story = Story()
        self.story.tell("prompt", prompt)
        self.handle = self.graph.start()
        self._write, self._clock = write, clock
        self._began = self._first = self._last = 0.0
        self._tokens = 0
        self._reason = "complete"

    async def run(self) -> None:
        """Run to the end, telling the story; raises what the model raises."""
        self._began = self._clock()
        try:
            async with self.handle:
                pass
            self.story.tell("end", {"reason": self._reason})
        except Exception as error:
            self.story.tell("error", {"message": str(error)})
            raise
        finally:
            self.story.close()

    async def stop(self) -> None:
        """End the model's work now; what it has said so far goes through.  Before the run: nothing."""
        if self.handle.state == "running":
            self._reason = "stopped"
            await self.handle.stop(deadline=2)

    @property
    def figures(self) -> Figures:
        """The figures at this moment.  The rate counts from the first token on."""
        between = self._last - self._first
        queue = self.handle.metrics().gates[0]
        return Figures(
            self._tokens,
            (self._tokens - 1) / between if between > 0 else None,
            (self._first - self._began) * 1000 if self._tokens else None,
            queue.depth,
        )

    def _token(self, piece: str) -> None:
        self._last = self._clock()
        if not self._tokens:
            self._first = self._last
        self._tokens += 1
        self._write(piece)
        figures = self.figures
        self.deepest = max(self.deepest, figures.queue_depth)
        self.story.tell("token", piece)
        self.story.tell("figures", figures._asdict())

    def _sentence(self, counts: Counts) -> None:
        self.counts = counts
        self.story.tell("sentence", counts.sentence)


async def on_a_page(answer: Answer, port: int, ready: Callable[[str], object]) -> None:
    """Serve the page, run the answer when the page is opened, and end when it has been read.

    ``ready`` is called with the page's address.  Raises OSError if the port is taken, and what the
    answer raises; never an exception group.
    """
    from kayrx.demo.web import app, serve  # its packages are only needed here

    failure: Exception | None = None
    async with anyio.create_task_group() as group:
        try:
            port = await group.start(serve, app(answer.story.read, answer.stop), port)
            ready(f"http://127.0.0.1:{port}")
            await answer.story.opened()
            try:
                await answer.run()
            finally:
                with anyio.move_on_after(2):
                    await answer.story.left()
        except Exception as error:  # raised below, where no group wraps it
            failure = error
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure


__all__ = ["Answer", "Counts", "Figures", "Story", "answer_graph", "on_a_page"]
