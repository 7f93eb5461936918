"""Which of Streamlit's messages a visitor may send: those that a page needs, and no other.

Streamlit trusts whoever opens a websocket as if it were its developer: any visitor may empty everybody's caches (`clear_cache`), read the
checkout's branch and changed files (`load_git_info`), have files written into it (`install_skills`) or set the server's mode. A public
arena hears the clicks, the heartbeat and requests for data that a page has offered; everything else is dropped here. It also starts a
thread for each message: three hundred sent at once stopped the page for everybody for half a minute. So clicks have a pace here.
"""

import asyncio
import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("arena")
HEARD = frozenset({"rerun_script", "stop_script", "app_heartbeat", "file_urls_request"})
OPERATIONS = frozenset({"deferred_file", "dataframe_chunk"})
# A prompt has some thousand characters; nothing is uploaded over the websocket.
LARGEST_FRAME_BYTES = 1_000_000
# Each click starts a thread; nobody clicks faster than this for long.
BURST, PER_S = 20, 5


class OnlyWhatPagesSend:
    """ASGI middleware: drops the frames of a websocket that are none of `HEARD`, and lets no connection send more than `PER_S` a second.

    What is no BackMsg at all is left to Streamlit, which closes the connection.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        allowance, seen_s = float(BURST), time.monotonic()

        async def receive_what_is_heard() -> Message:
            nonlocal allowance, seen_s
            while True:
                message = await receive()
                if message["type"] != "websocket.receive":
                    return message
                now_s = time.monotonic()
                allowance, seen_s = min(allowance + (now_s - seen_s) * PER_S, BURST) - 1, now_s
                if allowance < 0:
                    # Whoever hurries waits; the others do not wait for him.
                    await asyncio.sleep(-allowance / PER_S)
                if is_heard(message.get("bytes")):
                    return message

        await self.app(scope, receive_what_is_heard if scope["type"] == "websocket" else receive, send)


def is_heard(frame: bytes | None) -> bool:
    """Whether this frame may reach Streamlit."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from streamlit.proto.BackMsg_pb2 import BackMsg

    try:
        message = BackMsg.FromString(frame or b"")
    except DecodeError:
        return True
    kind = message.WhichOneof("type")
    operation = message.backend_operation_request.WhichOneof("payload") if kind == "backend_operation_request" else None
    heard = kind in HEARD or operation in OPERATIONS
    if not heard:
        log.info("a visitor's message was dropped: %s", operation or kind)
    return heard
