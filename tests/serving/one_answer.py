"""One request through a client of its own.

answer = ask(server.endpoint(), max_retries=0)
"""

import asyncio

from serving.client import Client
from serving.completion import Completion, Request
from serving.endpoints import Endpoint

HELLO = Request.user("hello")


def ask(endpoint: Endpoint, request: Request = HELLO, **client: object) -> Completion:
    """What came; `client` are the Client's own options."""

    async def once() -> Completion:
        async with Client(**client) as opened:  # type: ignore[arg-type]
            return await opened.ask(endpoint, request)

    return asyncio.run(once())
