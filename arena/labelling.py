"""Categories that no rule can see, told by a model: every prompt is put to a judge endpoint once.

    results/categories.yaml:   expert: {ask: "Does a good answer need an expert's knowledge?"}
    arena label --judge gpt-4o-mini
    arena leaderboard --category expert

Only a plain yes or no is taken; anything else leaves the prompt unlabelled and is counted. What was labelled is not asked again.
"""

import asyncio
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

from arena.store import Store
from serving.client import Client
from serving.completion import Completion, Request
from serving.endpoints import Endpoint

_PROMPT = """Below is what a user wrote to a chat assistant. Do not answer it; judge it.

<prompt>
{content}
</prompt>

Question: {question}

Answer with one word, yes or no."""
# Prompts longer than this are cut for the judge: a category shows in its beginning.
_LONGEST = 8_000
_VERDICT = re.compile(r"\W*(yes|no)\W*", re.IGNORECASE)
# So many answers are committed together.
_GROUP = 32


@dataclass
class Labelled:
    """What came of it: `counts` of yes, no, unparsed and failed, and the bill (None: not known)."""

    category: str
    counts: Counter[str] = field(default_factory=Counter)
    cost_usd: float | None = 0.0


def verdict_of(completion: Completion) -> str:
    """yes, no, unparsed (it said something else) or failed (it said nothing)."""
    if not completion.answered:
        return "failed"
    # A model that thinks aloud has its verdict after it.
    said = _VERDICT.fullmatch(completion.text.rpartition("</think>")[2].strip())
    return said[1].lower() if said else "unparsed"


def label(store: Store, judge: Endpoint, category: str, question: str, *, limit: int | None = None, concurrency: int = 8) -> Labelled:
    """Ask the judge about every prompt that has no label yet, and keep what it says. Raises MissingKey; a failed request raises nothing."""
    waiting = store.unjudged(category)[:limit]
    found = Labelled(category)

    async def ask_all() -> None:
        prompts = iter(waiting)
        rows: list[tuple[str, bool]] = []

        def keep() -> None:
            store.save_judged(category, rows, judge=judge.id, when=datetime.now(UTC))
            rows.clear()

        async def work(client: Client) -> None:
            for prompt, content in prompts:
                text = _PROMPT.format(content=content[:_LONGEST], question=question)
                completion = await client.ask(judge, Request.user(text, temperature=0.0, max_tokens=1_000))
                verdict = verdict_of(completion)
                found.counts[verdict] += 1
                if verdict != "failed" and completion.cost_usd is None:
                    found.cost_usd = None
                elif found.cost_usd is not None:
                    found.cost_usd += completion.cost_usd or 0.0
                if verdict in ("yes", "no"):
                    rows.append((prompt, verdict == "yes"))
                    if len(rows) >= _GROUP:
                        keep()

        async with Client() as client:
            try:
                await asyncio.gather(*(work(client) for _ in range(min(concurrency, max(len(waiting), 1)))))
            finally:
                keep()

    asyncio.run(ask_all())
    return found
