"""A visitor is heard in what a page sends, and in nothing that Streamlit would let a developer do."""

import asyncio
import time
from typing import Any

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg

from arena.frames import BURST, PER_S, OnlyWhatPagesSend, is_heard


def operation(kind: str) -> BackMsg:
    message = BackMsg()
    getattr(message.backend_operation_request, kind).SetInParent()
    return message


RERUN = BackMsg()
RERUN.rerun_script.query_string = "battle=x"


@pytest.mark.parametrize(
    ("message", "heard"),
    [
        (RERUN, True), (BackMsg(stop_script=True), True), (BackMsg(app_heartbeat=True), True), (operation("deferred_file"), True),
        (operation("dataframe_chunk"), True), (operation("install_skills"), False), (operation("dismiss_skills_nudge"), False),
        (BackMsg(clear_cache=True), False), (BackMsg(load_git_info=True), False), (BackMsg(set_run_on_save=False), False),
        (BackMsg(debug_shutdown_runtime=True), False), (BackMsg(), False),
    ],
)  # fmt: skip
def test_only_what_a_page_sends_is_heard(message: BackMsg, heard: bool):
    assert is_heard(message.SerializeToString()) == heard


def test_a_message_hidden_behind_an_allowed_one_is_judged_as_streamlit_reads_it():
    # Protobuf: of two members of a oneof in one frame, the last one counts.
    assert not is_heard(RERUN.SerializeToString() + BackMsg(clear_cache=True).SerializeToString())


def test_what_is_no_message_is_left_to_streamlit_to_refuse():
    assert is_heard(b"\xff" * 20)


def test_a_connection_has_a_burst_and_then_a_pace():
    incoming = [{"type": "websocket.receive", "bytes": RERUN.SerializeToString()}] * (BURST + 2)
    began = time.monotonic()
    taken: list[float] = []

    async def receive() -> Any:
        return incoming.pop() if incoming else {"type": "websocket.disconnect"}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] == "websocket.receive":
            taken.append(time.monotonic())

    asyncio.run(OnlyWhatPagesSend(app)({"type": "websocket"}, receive, None))  # type: ignore[arg-type]
    assert len(taken) == BURST + 2 and taken[-1] - began > 1.9 / PER_S
