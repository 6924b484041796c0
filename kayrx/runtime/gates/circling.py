"""A loop as an Rx operator: a subject in front of its body, which is fed what comes back before anything else.

For bodies in which nothing waits; any other loop is a run on the loop that is running.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Any

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, SingleAssignmentDisposable
from reactivex.subject import Subject

from kayrx.nodes.loops import Loop
from kayrx.plan.lower import Operator
from kayrx.runtime.gates.circles import after_the_end, too_many


def circled(node: Loop, body: Operator) -> Operator:
    """The Rx meaning of a loop."""
    return lambda source: Observable(partial(subscribed, node, body, source))


def subscribed(node: Loop, body: Operator, source: Observable[Any], observer: abc.ObserverBase[Any],
               scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
    circling = Circling(node, observer)
    both = CompositeDisposable(circling.upstream, circling.inside)
    circling.inside.disposable = body(circling.entry).subscribe(
        circling.out, circling.fail, circling.finish, scheduler=scheduler)
    circling.upstream.disposable = source.subscribe(
        circling.give, circling.fail, circling.complete, scheduler=scheduler)
    return both


class Circling:
    """One subscription; ``busy`` while the body has an item, so that what comes meanwhile has to wait."""

    def __init__(self, node: Loop, observer: abc.ObserverBase[Any]) -> None:
        self.node, self.observer = node, observer
        self.upstream, self.inside = SingleAssignmentDisposable(), SingleAssignmentDisposable()
        self.entry: Subject[Any] = Subject()
        self.new: deque[Any] = deque()
        self.back: deque[Any] = deque()
        self.busy = self.completed = self.ending = self.over = False

    def give(self, item: Any) -> None:
        self.new.append(item)
        self.go()

    def complete(self) -> None:
        self.completed = True
        self.go()

    def go(self) -> None:
        if self.busy:
            return
        self.busy = True
        while (waiting := self.back or self.new) and not self.over:
            self.entry.on_next(waiting.popleft())
        self.busy = False
        if self.completed and not self.over:
            self.ending = True
            self.entry.on_completed()

    def out(self, item: Any) -> None:
        try:
            done = self.node.until(item)
            if not done and self.ending:
                raise after_the_end(self.node.where)
            if not done and len(self.back) >= self.node.size:
                raise too_many(self.node.where, self.node.size)
        except Exception as error:
            self.fail(error)
            return
        if done:
            self.observer.on_next(item)
        else:
            self.back.append(item)

    def finish(self) -> None:
        self.over = True
        self.upstream.dispose()
        self.observer.on_completed()

    def fail(self, error: Exception) -> None:
        self.over = True
        self.upstream.dispose()
        self.inside.dispose()
        self.observer.on_error(error)
