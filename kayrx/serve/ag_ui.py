"""AG-UI, the Agent-User Interaction protocol: what ``HttpAgent`` of the npm package ``@ag-ui/client`` reads.

    data: {"type":"RUN_STARTED","threadId":"t1","runId":"r1"}
    data: {"type":"TEXT_MESSAGE_START","messageId":"k3Jx-1","role":"assistant"}
    data: {"type":"TEXT_MESSAGE_CONTENT","messageId":"k3Jx-1","delta":"Hello"}
    data: {"type":"TEXT_MESSAGE_END","messageId":"k3Jx-1"}
    data: {"type":"RUN_FINISHED","threadId":"t1","runId":"r1","outcome":{"type":"success"}}

A str is text; a dict whose ``type`` is one of the protocol's (``TOOL_CALL_START``, ``STATE_DELTA``, ...) goes through
as it is; anything else, ``retract`` and ``resync`` are ``CUSTOM``.  Thread and run have the ids of the input that
started the session (``RunAgentInput``), else the run's own.
Source: https://docs.ag-ui.com/concepts/events
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kayrx.serve.client import Subscription
from kayrx.serve.events import Event
from kayrx.serve.parts import COMMENT, Parts, message
from kayrx.serve.response import Protocol

OWN = ("TOOL_CALL_", "STATE_", "MESSAGES_SNAPSHOT", "ACTIVITY_", "REASONING_", "STEP_", "SUBAGENT_", "RAW", "CUSTOM")


class AgentEvents(Parts):
    """The words of the protocol."""

    inside = ("CUSTOM", "RAW", "STATE_", "ACTIVITY_", "STEP_")

    def run(self, client: Subscription) -> dict[str, str]:
        """The ids of thread and run."""
        given = client.session.inputs[0] if client.session.inputs else None

        def id(*names: str) -> str:
            found = next((value for name in names if (value := field(given, name)) is not None), client.session.tag)
            return str(found)
        return {"threadId": id("threadId", "thread_id"), "runId": id("runId", "run_id")}

    def begin(self, client: Subscription) -> list[Any]:
        return [{"type": "RUN_STARTED"} | self.run(client)]

    def text(self, verb: str, id: str, delta: str = "") -> Any:
        more = {"start": {"role": "assistant"}, "delta": {"delta": delta}, "end": {}}[verb]
        return {"type": f"TEXT_MESSAGE_{'CONTENT' if verb == 'delta' else verb.upper()}", "messageId": id} | more

    def own(self, item: Mapping[str, Any]) -> bool:
        return isinstance(item.get("type"), str) and item["type"].startswith(OWN)

    def other(self, name: str, data: Any) -> Any:
        return {"type": "CUSTOM", "name": name, "value": data}

    def final(self, client: Subscription, event: Event) -> list[Any]:
        if event.type == "error":
            kind, text = message(event.data)
            return [{"type": "RUN_ERROR", "message": text or kind, "code": kind}]
        reason = event.data["reason"]
        if reason in ("complete", "stopped", "cancelled"):
            outcome = "success" if reason == "complete" else "cancelled"
            return [{"type": "RUN_FINISHED", **self.run(client), "outcome": {"type": outcome}}]
        return [{"type": "RUN_ERROR", "message": f"the connection has ended: {reason}", "code": reason}]


def field(given: Any, name: str) -> Any:
    return given.get(name) if isinstance(given, Mapping) else getattr(given, name, None)


def ag_ui() -> Protocol:
    """The protocol."""
    return Protocol("text/event-stream", AgentEvents(), COMMENT)


__all__ = ["ag_ui"]
