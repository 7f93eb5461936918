"""Categories: a rule finds what it names and not what resembles it; a user's own rules; a personal board."""

from pathlib import Path

import pytest

from arena.categories import own_rules, rule, rules
from arena.errors import ArenaError
from arena.importers import SHIPPED_VOTES, read_records
from arena.store import Record, Store
from arena.votes import Battle, Vote
from serving.completion import Message

PROMPTS = {
    "code": ["Write a Python function that reverses a list", "Fix this:\n```\nint x = 1\n```", "SELECT name FROM users returns nothing"],
    "maths": ["What is 12 * 34?", "Solve the equation x + 3 = 7", "Tom has 3 apples and buys 4. How many apples has he?"],
    "creative": ["Write a haiku about autumn", "Imagine you are a pirate"],
    "english": ["What is the capital of France?"],
    "german": ["Wie ist das Wetter und was soll ich anziehen?"],
    "french": ["Quel est le prix de la voiture et du train pour les enfants ?"],
    "spanish": ["¿Cuál es la capital de España y cómo es el clima en los meses de verano?"],
    "chinese": ["法国的首都是哪里？"],
    "japanese": ["フランスの首都はどこですか？"],
    "korean": ["프랑스의 수도는 어디입니까?"],
    "russian": ["Какая столица Франции?"],
    "long": ["Tell me more. " * 50],
    "short": ["Hi"],
    "hard": ["Explain step by step why the algorithm must terminate after at most 2 rounds of 10 comparisons, without proof."],
}
CALM = "Good morning, please recommend me a nice restaurant for tonight, near the river, for all of my old friends and for me."


@pytest.fixture
def store(database: Path | str):
    with Store(database) as store:
        yield store


def cast(store: Store, *texts: str, battle_id: str = "b", voter: str = "ada") -> None:
    """A vote on a battle in which the user wrote these texts in turn."""
    messages = [Message(role="user", content=texts[0])]
    for text in texts[1:]:
        messages += [Message(role="assistant", content="def python(): 1 + 1"), Message(role="user", content=text)]
    battle = Battle(battle_id=battle_id, created_at=None, messages=tuple(messages), model_a="x", model_b="y", voter_id=voter)
    vote = Vote(vote_id=battle_id, battle_id=battle_id, voter_id=voter, winner="model_a", voted_at=None)
    store.save_all([Record(battle, None, vote)])


def in_category(store: Store, category: str, results: Path) -> int:
    return len(store.ballots(where=rule(category, results)))


@pytest.mark.parametrize("category", PROMPTS)
def test_a_rule_finds_what_it_names_and_leaves_small_talk_alone(store: Store, tmp_path: Path, category: str):
    for number, text in enumerate(PROMPTS[category]):
        cast(store, text, battle_id=f"b{number}")
    assert in_category(store, category, tmp_path) == len(PROMPTS[category])
    cast(store, CALM, battle_id="calm")
    assert in_category(store, category, tmp_path) == len(PROMPTS[category]) + (category == "english")


def test_turns_are_the_users_and_what_models_wrote_counts_for_nothing(store: Store, tmp_path: Path):
    cast(store, "Hello there", "And now?")
    assert in_category(store, "multi-turn", tmp_path) == 1 and in_category(store, "code", tmp_path) == 0


def test_a_category_of_ones_own_is_a_line_of_yaml(store: Store, tmp_path: Path):
    cast(store, "Should I buy BONDS?")
    (tmp_path / "categories.yaml").write_text('finance: "\\\\b(bond|stock)s?\\\\b"\n')
    assert own_rules(tmp_path) == {"finance": r"\b(bond|stock)s?\b"} and in_category(store, "finance", tmp_path) == 1
    for text, told in (
        ("code: x", "is a category already"),
        ("- x", "holds no names"),
        ("a: 3", "is no regular expression"),
        ("a: [", "not YAML"),
    ):
        (tmp_path / "categories.yaml").write_text(text)
        with pytest.raises(ArenaError, match=told):
            rule("a", tmp_path)
    (tmp_path / "categories.yaml").write_text('broken: "("')
    with pytest.raises(ArenaError, match="missing"):
        in_category(store, "broken", tmp_path)


def test_an_unknown_category_is_told_what_there_is(tmp_path: Path):
    with pytest.raises(ArenaError, match="Did you mean 'maths'.*multi-turn"):
        rule("math", tmp_path)


def test_a_personal_board_counts_ones_own_votes(store: Store):
    for number, voter in enumerate(["ada", "ada", "bob"]):
        cast(store, "Hi", battle_id=f"b{number}", voter=voter)
    assert [len(store.ballots(voter=voter)) for voter in ("ada", "bob", "eve")] == [2, 1, 0]


def test_every_real_prompt_is_english(tmp_path: Path, store: Store):
    store.save_all(read_records(SHIPPED_VOTES, "llmfao"))
    sizes = {category: in_category(store, category, tmp_path) for category in rules()}
    assert sizes["english"] == 8931 and sizes["german"] == sizes["multi-turn"] == 0 and sizes["code"] > 0 < sizes["maths"]
