"""The UI message stream of the AI SDK, version 1: what ``useChat`` of the npm package ``ai`` reads.

    data: {"type":"start","messageId":"k3Jx"}
    data: {"type":"text-start","id":"k3Jx-1"}
    data: {"type":"text-delta","id":"k3Jx-1","delta":"Hello"}
    data: {"type":"text-end","id":"k3Jx-1"}
    data: {"type":"finish","finishReason":"stop"}
    data: [DONE]

A str is text; a dict whose ``type`` is one of the protocol's (``tool-input-start``, ``reasoning-delta``, ``data-...``)
goes through as it is; anything else is a part of the type ``data-item``.  ``retract`` and ``resync`` are transient data
(``onData``); the text after them is a part of its own.  A run that was stopped ends with ``abort``.
Source: https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kayrx.serve.client import Subscription
from kayrx.serve.events import Event
from kayrx.serve.parts import COMMENT, Parts, message
from kayrx.serve.response import Protocol

OWN = ("data-", "reasoning-", "source-", "tool-", "file", "message-metadata", "start-step", "finish-step")


class UIMessages(Parts):
    """The words of the protocol."""

    inside = ("data-", "message-metadata", "source-")

    def begin(self, client: Subscription) -> list[Any]:
        return [{"type": "start", "messageId": client.session.tag}]

    def text(self, verb: str, id: str, delta: str = "") -> Any:
        word = {"type": f"text-{verb}", "id": id}
        return word | {"delta": delta} if verb == "delta" else word

    def own(self, item: Mapping[str, Any]) -> bool:
        return isinstance(item.get("type"), str) and item["type"].startswith(OWN)

    def other(self, name: str, data: Any) -> Any:
        word = {"type": f"data-{name}", "data": data}
        return word if name == "item" else word | {"transient": True}

    def final(self, client: Subscription, event: Event) -> list[Any]:
        if event.type == "error":
            kind, text = message(event.data)
            return [{"type": "error", "errorText": f"{kind}: {text}"}, {"type": "finish", "finishReason": "error"},
                    "[DONE]"]
        reason = event.data["reason"]
        if reason == "complete":
            return [{"type": "finish", "finishReason": "stop"}, "[DONE]"]
        return [{"type": "abort", "reason": reason}, "[DONE]"]


def ai_sdk() -> Protocol:
    """The protocol, and the header by which the AI SDK knows it."""
    return Protocol("text/event-stream", UIMessages(), COMMENT, {"x-vercel-ai-ui-message-stream": "v1"})


__all__ = ["ai_sdk"]
