"""Answers that say who wrote them: a blind battle is no longer blind when a side introduces itself.

    leaked("GPT 4", "I am ChatGPT, a model trained by OpenAI.", asked="Who are you?")     # 'ChatGPT'

A name counts only as whole words and only where the answer speaks of itself ("I am …", "trained by …"): a palm tree is no leak of PaLM,
and an essay on OpenAI is none either. A name that the prompt itself holds gives nothing away.
"""

import re
from functools import cache

# Makers and families; the model's own name is added.
NAMES = (
    "OpenAI", "ChatGPT", "GPT-3", "GPT-3.5", "GPT-4", "GPT-4o", "Anthropic", "Claude", "Google", "Google AI", "DeepMind", "Bard",
    "Gemini", "PaLM", "PaLM 2", "LaMDA", "Gemma", "Meta", "Meta AI", "LLaMA", "Llama 2", "Llama 3", "Mistral", "Mistral AI",
    "Mixtral", "Cohere", "Command R", "Vicuna", "LMSYS", "Alpaca", "Koala", "Dolly", "Databricks", "Falcon", "TII", "Qwen",
    "Alibaba", "Tongyi Qianwen", "DeepSeek", "Yi", "01.AI", "ChatGLM", "Zhipu", "Baichuan", "InternLM", "Grok", "xAI", "Phi",
    "Microsoft", "Copilot", "Open Assistant", "OpenAssistant", "LAION", "StableLM", "Stability AI", "MPT", "MosaicML", "WizardLM",
    "Nous Hermes", "Hugging Face", "HuggingFace", "Reka", "Jamba", "AI21", "Nova", "Kimi", "Moonshot AI",
)  # fmt: skip
_NAMED = r"(?:I am|I'm|I’m|my name is|call me)"
# Each match of the two patterns holds one of these.
_OPENINGS = ("i am", "i'm", "i’m", "my name is", "call me", "i was", "i have been", "as a")
_MADE = r"(?:I am|I'm|I’m|I was|I have been|as an?)\b[^.!?\n]{0,60}?\b(?:called|named|known as|(?:trained|made|created|developed|built) by)"


def leaked(model: str, text: str, *, asked: str = "") -> str | None:
    """The name by which an answer of `model` gives its writer away; None when it keeps silent."""
    lower = text.lower()
    # Almost no answer speaks of itself: a look for these words spares the pattern's walk.
    if not any(words in lower for words in _OPENINGS):
        return None
    for match in _pattern(model).finditer(text):
        name = match.group("name")
        if not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", asked, re.IGNORECASE):
            return name
    return None


@cache
def _pattern(model: str) -> re.Pattern[str]:
    # Longest first, so that "GPT-4o" is not read as "GPT-4".
    names = "|".join(re.escape(name) for name in sorted({*NAMES, model}, key=lambda name: (-len(name), name)))
    return re.compile(rf"\b(?:{_NAMED}|{_MADE})\s+(?:an?\s+|the\s+)?(?P<name>(?-i:{names}))(?![\w-])", re.IGNORECASE)
