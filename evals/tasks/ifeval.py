"""IFEval's verdicts: lm-eval's copy of the official checkers, made to work offline and to say the same twice. ifeval.yaml names these.

Three things that the checkers use are not as they were published:

- Sentences. `length_constraints:number_sentences` counts them with NLTK's English Punkt model, which is a download (punkt_tab). Where it is
  not on this machine, the same algorithm is trained here on IFEval's prompts (it needs no labels), with common abbreviations added.
  `change_case:capital_word_frequency` splits into sentences too before it splits into words, which changes no word that it counts.
- Language. langdetect draws random numbers (`language:*`, `change_case:english_*`); here they are the same in every run.
- Letters that are none. `keywords:letter_frequency` asks for "#" in prompt 1122 and for "!" in 1129, where the official checker draws a
  letter instead, once for the strict and once for the loose verdict. Here the draws are the same in every run. SEED is the first
  number with which they fall as in the published verdicts on GPT-4 (on 1122 strict yes, loose no: no letter of one's own could say both).
"""

import gzip
import json
import logging
import os
import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

log = logging.getLogger(__name__)

SEED = 6
TASKS = Path(__file__).parent

# Those that English writes with a full stop in the middle of a sentence; Punkt lists them in lower case without the last one.
ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof rev gen sen rep gov capt lt col sgt st sr jr vs etc e.g i.e p.m a.m u.s u.k u.n d.c no vol pp fig al inc ltd "
    "co corp jan feb mar apr aug sept sep oct nov dec approx dept est ave blvd ph.d b.a m.a b.s m.s".split()
)


def score(doc: dict[str, Any], results: Sequence[str]) -> dict[str, Any]:
    """Strict and loose verdicts of one response, per prompt (0 or 1) and per instruction (a list of them)."""
    checkers = _checkers()
    from lm_eval.tasks.ifeval import instructions

    # In that module alone, and anew for each document: a verdict must not depend on those before it.
    instructions.random = random.Random(SEED + doc["key"])
    verdicts: dict[str, Any] = checkers.process_results(doc, [str(results[0])])
    return {name: [int(one) for one in value] if isinstance(value, list) else int(value) for name, value in verdicts.items()}


def share(items: Sequence[Sequence[int]]) -> float:
    """The share of instructions that were followed, over all prompts together."""
    verdicts = [verdict for of_one in items for verdict in of_one]
    return sum(verdicts) / len(verdicts)


def sentences(text: str) -> list[str]:
    """The sentences of a text by Punkt's algorithm, trained here."""
    return list(_splitter().tokenize(text))


@cache
def _splitter() -> Any:
    from nltk.tokenize.punkt import PunktSentenceTokenizer, PunktTrainer

    trainer = PunktTrainer()
    trainer.train(_english(), finalize=True)
    parameters = trainer.get_params()
    parameters.abbrev_types |= ABBREVIATIONS
    return PunktSentenceTokenizer(parameters)


def _english() -> str:
    """Prose that ships with the task: IFEval's own prompts, 180,000 characters."""
    prompts = gzip.decompress((TASKS / "ifeval" / "test.jsonl.gz").read_bytes()).decode().splitlines()
    return "\n\n".join(json.loads(line)["prompt"] for line in prompts)


@cache
def _checkers() -> Any:
    """lm_eval.tasks.ifeval.utils, ready to be used offline."""
    import langdetect

    # lm-eval's module downloads punkt_tab while it is imported, unless this process is not the first of several.
    rank = os.environ.get("LOCAL_RANK")
    os.environ["LOCAL_RANK"] = rank or "1"
    try:
        from lm_eval.tasks.ifeval import instructions_util, utils
    finally:
        if rank is None:
            del os.environ["LOCAL_RANK"]
    langdetect.DetectorFactory.seed = 0
    import nltk

    try:
        nltk.data.find("tokenizers/punkt_tab/english")
    except LookupError:
        log.info("ifeval: NLTK's punkt_tab is not on this machine; sentences are counted by Punkt with a list of abbreviations")
        _without_punkt(instructions_util)
    return utils


def _without_punkt(instructions_util: Any) -> None:
    """Give lm-eval's checkers our sentences, in their module alone."""
    import nltk

    words = nltk.tokenize.NLTKWordTokenizer()

    def word_tokenize(text: str) -> list[str]:
        return [word for sentence in sentences(text) for word in words.tokenize(sentence)]

    instructions_util.nltk = SimpleNamespace(tokenize=nltk.tokenize, word_tokenize=word_tokenize, data=nltk.data)
    instructions_util._get_sentence_tokenizer = _splitter
