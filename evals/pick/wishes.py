"""What a person wants of an endpoint: what it must keep, under which load and demand, and what counts how much.

    # results/pick.yaml
    require: {open_weights: true, licenses: [apache-2.0, mit], max_ttft_p95_s: 2, min_quality: {gsm8k: 0.6}}
    under: {rate: 4, requests_per_month: 300000}
    weigh: {quality: 2, cost: 1}

A weight is what one *unit* is worth: 100 points of rating, 10 points of quality, half the seconds, half the dollars. Units do not depend
on who else is on the list, so that one more endpoint never changes the order of the others.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from serving.documents import Noun
from serving.endpoints import EndpointId

Objective = Literal["rating", "quality", "latency", "cost"]
OBJECTIVES: tuple[Objective, ...] = ("rating", "quality", "latency", "cost")
LatencyFigure = Literal["latency_p50", "latency_p95", "ttft_p50", "ttft_p95"]
LATENCY_FIGURES: tuple[LatencyFigure, ...] = ("latency_p50", "latency_p95", "ttft_p50", "ttft_p95")


class Require(Noun):
    """What an endpoint must keep; what is not stated is not asked. Seconds, dollars, shares (0 to 1), rating points."""

    open_weights: bool = False
    data_stays: bool = False
    licenses: tuple[str, ...] = ()
    max_ttft_p95_s: float | None = Field(default=None, gt=0)
    max_latency_p95_s: float | None = Field(default=None, gt=0)
    max_usd_per_1000: float | None = Field(default=None, ge=0)
    max_usd_per_month: float | None = Field(default=None, ge=0)
    min_quality: dict[str, float] = {}
    min_rating: float | None = None

    @model_validator(mode="after")
    def _shares(self) -> "Require":
        for task, share in self.min_quality.items():
            if not 0 <= share <= 1:
                raise ValueError(f"min_quality of {task} is a share from 0 to 1, such as 0.8 for 80 %; it says {share:g}")
        return self


class Under(Noun):
    """Conditions: the load at which seconds count (`rate` requests a second, or `concurrency` at once; neither: as the suites asked), the
    tokens of a request (not stated: those of the endpoint's own answers), and the demand that a month's bill is of.
    """

    rate: float | None = Field(default=None, gt=0)
    concurrency: int | None = Field(default=None, ge=1)
    input_tokens: int | None = Field(default=None, ge=0)
    output_tokens: int | None = Field(default=None, ge=0)
    requests_per_month: float | None = Field(default=None, gt=0)
    demand: Path | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "Under":
        if self.rate is not None and self.concurrency is not None:
            raise ValueError("rate and concurrency are two kinds of load; state one of them")
        if (self.input_tokens is None) != (self.output_tokens is None):
            raise ValueError("the tokens of a request need both input_tokens and output_tokens")
        if self.input_tokens is not None and not self.input_tokens + (self.output_tokens or 0):
            raise ValueError("a request has at least one token; input_tokens and output_tokens are both 0")
        if self.requests_per_month is not None and self.demand is not None:
            raise ValueError("requests_per_month and demand say the same thing; state one of them")
        return self

    @property
    def load(self) -> str | None:
        """`4 req/s`, `32 at once`, or None where no load is asked for."""
        if self.rate is not None:
            return f"{self.rate:g} req/s"
        return None if self.concurrency is None else f"{self.concurrency} at once"

    @property
    def monthly(self) -> bool:
        """Whether a month's bill can be made, so that cost is dollars a month."""
        return self.requests_per_month is not None or self.demand is not None


class Weights(Noun):
    """What one unit of each objective is worth; 0: it does not count."""

    rating: float = Field(default=0.0, ge=0)
    quality: float = Field(default=0.0, ge=0)
    latency: float = Field(default=0.0, ge=0)
    cost: float = Field(default=0.0, ge=0)

    @property
    def asked(self) -> tuple[Objective, ...]:
        """The objectives that count."""
        return tuple(name for name in OBJECTIVES if getattr(self, name) > 0)


class Wishes(Noun):
    """Everything that `evals pick` is told. `weigh` None: each objective that the evidence carries counts 1. `tasks` may hold `*`.

    `names` joins an arena's model to the endpoint it is, where the ids differ: {"GPT 4": "gpt-4-0314"}.
    """

    require: Require = Require()
    under: Under = Under()
    weigh: Weights | None = None
    tasks: tuple[str, ...] = ()
    latency: LatencyFigure | None = None
    endpoints: tuple[EndpointId, ...] = ()
    names: dict[str, EndpointId] = {}

    @model_validator(mode="after")
    def _possible(self) -> "Wishes":
        if self.weigh is not None and not self.weigh.asked:
            raise ValueError("weigh: every weight is 0; give rating, quality, latency or cost some weight")
        if self.require.max_usd_per_month is not None and not self.under.monthly:
            raise ValueError("max_usd_per_month needs a demand: state requests_per_month or demand under 'under'")
        return self

    @property
    def figure(self) -> LatencyFigure:
        """The seconds that count: as stated, else the 95th percentile under a load and the median without one."""
        return self.latency or ("latency_p95" if self.under.load else "latency_p50")
