"""The testing kit: marbles, laws, virtual time, and what is left behind.  Nothing in kayrx imports it."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False

if TYPE_CHECKING:
    from kayrx.testing import laws
    from kayrx.testing.clock import VirtualClock, VirtualLoop, run_virtual, virtual_world
    from kayrx.testing.diagram import MarbleError
    from kayrx.testing.left import Left, left_behind
    from kayrx.testing.marble import marbles
    from kayrx.testing.rx import rx_scheduler
    from kayrx.testing.schedules import Schedule
    from kayrx.testing.trace import Trace

_HOMES = {
    "kayrx.testing.clock": "VirtualClock VirtualLoop run_virtual virtual_world",
    "kayrx.testing.diagram": "MarbleError",
    "kayrx.testing.left": "Left left_behind",
    "kayrx.testing.marble": "marbles",
    "kayrx.testing.rx": "rx_scheduler",
    "kayrx.testing.schedules": "Schedule",
    "kayrx.testing.trace": "Trace",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "Left", "MarbleError", "Schedule", "Trace", "VirtualClock", "VirtualLoop", "laws", "left_behind", "marbles",
    "run_virtual", "rx_scheduler", "virtual_world",
]


def __getattr__(name: str) -> object:
    if name in __all__:
        home = import_module(_HOME.get(name, f"{__name__}.{name}"))
        value: object = getattr(home, name) if name in _HOME else home
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
