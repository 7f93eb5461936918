"""What can go wrong when speaking to models, and the root of every room's tree.

    BakeoffError                  a person can mend it: commands print one red line and exit 1
    ├── DocumentError             a YAML or JSONL file that does not say what it must
    ├── ServingError
    │   ├── UnknownEndpoint       no endpoint of that id
    │   ├── MissingKey            the environment variable that holds the API key is not set
    │   ├── Unreachable           nobody answers at base_url
    │   ├── NotRecorded           the recording does not hold this request
    │   ├── CannotAsk             the request states what this endpoint's API has no field for
    │   └── EngineFailed          an engine did not start, or stopped
    ├── ArenaError                (arena/errors.py)
    ├── EvalsError                (evals/errors.py)
    └── TrainersError             (trainers/errors.py)

Each message names what was wrong (file, key, value) and the remedy, in one line.
A single request that fails raises nothing: it is a `Completion` whose status says so.
"""

from difflib import get_close_matches


class BakeoffError(Exception):
    """Something the person at the keyboard can mend."""


class DocumentError(BakeoffError):
    """A file that does not say what it must: names file, key, value and remedy."""


class ServingError(BakeoffError):
    """Root of what `serving` raises."""


class UnknownEndpoint(ServingError):
    """No endpoint has this id."""


class MissingKey(ServingError):
    """The environment variable that must hold the API key is unset or empty."""


class Unreachable(ServingError):
    """Nobody answers at the endpoint's address."""


class NotRecorded(ServingError):
    """The recording does not hold this request; an answer is never invented."""


class CannotAsk(ServingError):
    """The request states something that the endpoint's API cannot be told."""


class EngineFailed(ServingError):
    """An engine did not become ready, or ended by itself."""


def did_you_mean(word: str, known: list[str]) -> str:
    """` Did you mean 'x'?`, or nothing when no known word is near."""
    lowered = {name.lower(): name for name in reversed(known)}
    near = get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
    return f" Did you mean '{lowered[near[0]]}'?" if near else ""
