"""What can be seen to be wrong with a mount as it is written, and would otherwise be found by a client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kayrx.errors import GraphError
from kayrx.graph.graph import Graph
from kayrx.nodes.values import needs_function, span
from kayrx.serve.limits import Limits, origin_of


def application(app: Any) -> None:
    """Raise GraphError unless ``app`` has routes and a lifespan."""
    router = getattr(app, "router", None)
    if not hasattr(router, "routes") or not hasattr(router, "lifespan_context"):
        raise GraphError(f"mount(app, path, graph): app is an application of Starlette or FastAPI, got "
                         f"{type(app).__name__}")


def fits(app: Any, path: str, graph: Any, inputs: Any, authorize: Any, origins: Sequence[str], hosts: Sequence[str],
         limits: Limits | None, heartbeat: float | None, timeout: float) -> None:
    """Raise GraphError for an option that can never do what it says."""
    if not isinstance(path, str) or not path.startswith("/"):
        raise GraphError(f"mount(path={path!r}): a path begins with /")
    if authorize is not None:
        needs_function("mount", "authorize", authorize)
    if inputs is not None:
        needs_function("mount", "inputs", getattr(inputs, "model_validate", inputs))
        if isinstance(graph, Graph):
            raise GraphError("mount(inputs=): a graph takes no input; give a function that makes one of it, as in "
                             "lambda question: kx.source(...)")
    span("mount", "timeout", timeout, zero=False)
    if heartbeat is not None:
        span("mount", "heartbeat", heartbeat, zero=False)
    if limits is not None and not isinstance(limits, Limits):
        raise GraphError(f"mount(limits={limits!r}): give Limits(...)")
    for name, given in (("origins", origins), ("hosts", hosts)):
        if isinstance(given, str):
            raise GraphError(f"mount({name}={given!r}): a list of them, as in [{given!r}]")
    for origin in origins:
        if origin != "*" and origin_of(origin) is None:
            raise GraphError(f"mount(origins=[{origin!r}]): an origin is https://host or https://host:port, with no "
                             "path and no / behind it")


def free(app: Any, path: str) -> None:
    """Raise GraphError if another route of the app answers there, and this one would never be asked."""
    scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "headers": [], "path_params": {}}
    for route in app.router.routes:
        if getattr(route.matches(scope)[0], "name", "") == "FULL":
            by = getattr(route, "path", "") or type(route).__name__
            raise GraphError(f"mount(path={path!r}): GET {path} is answered by {by!r} already; choose another path, or "
                             "mount before it")


__all__ = ["application", "fits", "free"]
