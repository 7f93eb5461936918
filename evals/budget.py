"""A run's limit in dollars: a request whose worst case would exceed it is not sent.

    max_usd: 5.00        in a suite, or evals run SUITE --max-usd 5

The worst case of a request is its longest answer (`max_tokens`) and as many input tokens as its text can have. What is in flight is
reserved, so that a thousand requests at once cannot exceed the limit together. Where a request states no `max_tokens`, half as much again
as the longest answer so far is set aside: the one that is longer still may exceed the limit by the difference.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

from evals.errors import BudgetError
from serving.completion import Completion, Request
from serving.endpoints import Endpoint
from serving.prices import rates

# A token of text holds some four bytes in English and two in dense scripts and code; templates add a few per message.
_BYTES_PER_TOKEN = 2.0
_TOKENS_PER_MESSAGE = 16
# Where a request states no limit: until answers have been seen, the longest that common servers give.
_UNKNOWN_OUTPUT_TOKENS = 4096
_MARGIN = 1.5


class Budget:
    """`spent_usd` so far (what an earlier part of the run spent included) of `max_usd`; `refused` requests were not sent.

    While something is `in_flight`, what is set aside for it may yet become free: a request that finds no dollars waits for that.
    """

    def __init__(self, max_usd: float, *, spent_usd: float = 0.0) -> None:
        self.max_usd = max_usd
        self.spent_usd = spent_usd
        self.refused = 0
        self.in_flight = 0
        self._reserved_usd = 0.0
        self._longest: dict[str, int] = {}

    def reserve(self, endpoint: Endpoint, request: Request) -> float | None:
        """Dollars set aside for the worst case of this request; None when they are not there."""
        worst_usd = worst_case_usd(endpoint, request, longest=self._longest.get(endpoint.id))
        if self.spent_usd + self._reserved_usd + worst_usd > self.max_usd:
            return None
        self._reserved_usd += worst_usd
        self.in_flight += 1
        return worst_usd

    def settle(self, reserved_usd: float, completion: Completion, endpoint: Endpoint) -> None:
        """The request is over: what it cost is spent, the rest of its reserve is free. An unknown cost counts as the whole reserve."""
        self._reserved_usd -= reserved_usd
        self.in_flight -= 1
        if endpoint.wire == "recorded":
            return
        if completion.cost_usd is not None:
            self.spent_usd += completion.cost_usd
        elif completion.answered or completion.text:
            self.spent_usd += reserved_usd
        tokens = completion.usage.output_tokens
        if completion.answered and tokens is not None:
            self._longest[endpoint.id] = max(tokens, self._longest.get(endpoint.id, 0))

    def refuse(self) -> str:
        """Count a request that is not sent; why not, for people."""
        self.refused += 1
        return f"not asked: ${self.spent_usd:.4g} of max_usd ${self.max_usd:g} is spent, and the worst case of this request would exceed it"


def worst_case_usd(endpoint: Endpoint, request: Request, *, longest: int | None = None) -> float:
    """The most that this request can cost. 0 for recordings, for machines paid by the hour and for servers of one's own without a price."""
    if endpoint.wire == "recorded" or (found := rates(endpoint, None)) is None:
        return 0.0
    output = request.max_tokens or (_UNKNOWN_OUTPUT_TOKENS if longest is None else int(_MARGIN * longest))
    return found.of(input_tokens(request), output)


def input_tokens(request: Request) -> float:
    """As many input tokens as this request can have, by the bytes of its text."""
    texts = [turn.content for turn in request.messages or ()] or [request.prompt or "", request.continuation or ""]
    return sum(len(text.encode("utf-8", "replace")) for text in texts) / _BYTES_PER_TOKEN + _TOKENS_PER_MESSAGE * len(texts)


def check_priced(endpoints: Iterable[Endpoint]) -> None:
    """Raises BudgetError for an endpoint whose bill nobody can foresee."""
    for endpoint in endpoints:
        if endpoint.wire == "recorded" or rates(endpoint, None) is not None:
            continue
        hourly = endpoint.price is not None and endpoint.price.usd_per_hour is not None
        local = (urlsplit(endpoint.base_url or "").hostname or "") in ("127.0.0.1", "localhost", "::1")
        if not (hourly or local):
            raise BudgetError(
                f"endpoint '{endpoint.id}': no price is known for '{endpoint.model}', so max_usd cannot be kept; "
                "state its price in results/prices.yaml, or run without max_usd"
            )
