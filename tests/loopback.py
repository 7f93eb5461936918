"""A server on loopback for the length of a `with`, in a thread and an event loop of its own; it leaves no socket behind.

class Echo(LoopbackServer):
    async def serve(self, reader, writer): ...
"""

import asyncio
import ssl
import threading
from typing import Self


class LoopbackServer:
    """Runs `serve` once per connection. What is still open at the end is dropped at once: a TLS farewell would wait for the peer."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive(), "the server did not stop"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until it is over; the writer is closed afterwards."""
        raise NotImplementedError

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self.tls)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        still_open = dict(self._open)
        for task, writer in still_open.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*still_open, return_exceptions=True)
        # Transports are closed by callbacks that the loop has yet to run.
        await asyncio.sleep(0.01)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        try:
            await self.serve(reader, writer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            pass
        finally:
            writer.close()
            if not self._stop.is_set():
                self._open.pop(task)
