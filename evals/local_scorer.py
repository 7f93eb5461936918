"""Log-probabilities where the server gives none: from the weights themselves, by lm-eval's own `hf` backend.

`transformers serve` ignores `logprobs` without a word. An endpoint that it serves from a folder on this machine has its weights at hand,
so a task that compares log-probabilities is computed here, to lm-eval's every digit, and never from a wrong echo.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from evals.errors import TaskError
from serving.completion import Completion, Request
from serving.endpoints import Endpoint

# So many are computed before they are recorded: a crash loses no more.
_CHUNK = 64


def scores_locally(endpoint: Endpoint) -> bool:
    """Whether the endpoint's weights are a folder on this machine."""
    return endpoint.engine == "transformers" and (Path(endpoint.model) / "config.json").is_file()


def score_locally(endpoint: Endpoint, requests: Sequence[Request], record: Callable[[Completion], None]) -> Iterator[Completion]:
    """A completion with its loglikelihood for each request, in order. Raises TaskError where torch is not installed."""
    backend = _backend(endpoint.model)
    for start in range(0, len(requests), _CHUNK):
        chunk = requests[start : start + _CHUNK]
        instances = [SimpleNamespace(args=(request.prompt, request.continuation)) for request in chunk]
        for request, (loglikelihood, greedy) in zip(chunk, backend.loglikelihood(instances, disable_tqdm=True), strict=True):
            completion = Completion(endpoint=endpoint.id, request=request, loglikelihood=float(loglikelihood), is_greedy=bool(greedy))
            record(completion)
            yield completion


@lru_cache(maxsize=1)
def _backend(model: str) -> Any:
    try:
        from lm_eval.models.huggingface import HFLM
    except ImportError as error:
        raise TaskError(f"log-probabilities of {model} are computed from its weights, which needs torch: make train ({error})") from None
    import torch

    return HFLM(pretrained=model, device="cuda" if torch.cuda.is_available() else "cpu", batch_size=1)
