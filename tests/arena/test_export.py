"""A dataset holds exactly the votes that prefer one good answer to another, says what became of the rest, and leaks no prompt."""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ballot_box import demo_votes

from arena.cast import answers_of, casts_from, casts_of
from arena.contamination import Grams, benchmark_grams
from arena.errors import ExportRefused
from arena.export import export as write_dataset
from arena.preferences import DROPPED, Rules
from arena.store import Record, Store
from arena.votes import Battle, Vote
from serving.completion import Completion, Message, Request

TASKS = Path(__file__).parents[2] / "evals" / "tasks"
FREE: dict[str, bool | None] = {"free": True, "other": True, "closed": False, "vague": None}


def record(
    number: int = 0, winner: str = "model_a", *, question: str = "Why?", texts: tuple[str, str] | None = ("yes", "no"), **more: object
) -> Record:
    vote_fields = {key: more.pop(key) for key in ("rated", "dwell_s", "voter_id") if key in more}
    statuses = more.pop("statuses", ("ok", "ok"))
    models = more.pop("models", ("free", "other"))
    request = Request.user(question)
    battle = Battle(
        battle_id=f"b{number}", created_at=None, messages=more.pop("messages", request.messages), model_a=models[0], model_b=models[1]
    )
    pair = texts and tuple(
        Completion(endpoint=model, request=request, text=text, status=status)
        for model, text, status in zip(models, texts, statuses, strict=True)
    )
    return Record(
        battle, pair, Vote(vote_id=f"v{number}", battle_id=f"b{number}", winner=winner, voted_at=None, **{"voter_id": None, **vote_fields})
    )


def question(number: int) -> str:
    """One that no other resembles."""
    return hashlib.sha256(str(number).encode()).hexdigest()


def rows(out: Path, name: str) -> list[dict]:
    return [json.loads(line) for line in (out / f"{name}.jsonl").read_text(encoding="utf-8").split("\n") if line]


@pytest.fixture
def export(tmp_path: Path) -> Callable:
    def write(records: list[Record], out: Path = tmp_path / "set", **options: object):
        format, benchmarks = options.pop("format", "dpo"), options.pop("benchmarks", None)
        rules = Rules(**{"least": 0, **options})
        return write_dataset(casts_from(records), out, format=format, outputs_trainable=FREE.get, rules=rules, benchmarks=benchmarks)

    return write


def test_a_row_is_trls_conversational_form_and_links_back_to_its_vote(export: Callable, tmp_path: Path):
    turns = (Message(role="user", content="Hi"), Message(role="assistant", content="Hello"), Message(role="user", content="Why?"))
    export([record(7, "model_b", messages=turns)])
    assert rows(tmp_path / "set", "train") == [
        {
            "prompt": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}, {"role": "user", "content": "Why?"}],
            "chosen": [{"role": "assistant", "content": "no"}],
            "rejected": [{"role": "assistant", "content": "yes"}],
            "vote_id": "v7", "battle_id": "b7", "chosen_model": "other", "rejected_model": "free",
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"winner": "tie"}, "tie"),
        ({"winner": "both_bad"}, "both_bad"),
        ({"rated": False}, "unrated"),
        ({"texts": ("yes", "  \n")}, "no_answer"),
        ({"statuses": ("api_error", "ok")}, "no_answer"),
        ({"statuses": ("ok", "truncated")}, "unfinished"),
        ({"texts": ("same", " same\n")}, "identical"),
        ({"texts": None}, "no_texts"),
        ({"texts": ("I am ChatGPT, made by OpenAI.", "no")}, "identity_leak"),
        ({"models": ("closed", "free")}, "license_forbids"),
        ({"models": ("vague", "free")}, "license_unknown"),
        ({"models": ("never heard of", "free")}, "license_unknown"),
        ({"dwell_s": 0.4}, "too_quick"),
        ({}, "dwell_unknown"),
    ],
)
def test_each_vote_that_is_no_preference_is_left_out_and_counted(bad: dict, reason: str, export: Callable, tmp_path: Path):
    dwell = {"min_dwell_s": 1.0} if reason in ("too_quick", "dwell_unknown") else {}
    # A question that nobody asked before, so that the other vote is no earlier choice of the same.
    audit = export([record(1, dwell_s=9.0), record(2, question="What?", **bad)], **dwell)
    assert audit.dropped == {reason: 1} and (audit.n_votes, audit.n_kept) == (2, 1)
    assert [row["vote_id"] for row in rows(tmp_path / "set", "train")] == ["v1"]
    assert DROPPED[reason] in (tmp_path / "set" / "README.md").read_text()


def test_a_conversation_whose_sides_heard_different_things_is_left_out(export: Callable):
    told = tuple(Message(role="user", content=text) for text in ("Hi", "Why?"))
    assert export([record(1, messages=told), record(2)]).dropped["histories_differ"] == 1


def test_a_rejected_answer_may_come_from_anywhere(export: Callable):
    assert export([record(1, models=("free", "closed"))]).n_kept == 1


def test_any_license_keeps_what_the_terms_forbid_and_says_so(export: Callable, tmp_path: Path):
    audit = export([record(1, models=("closed", "free")), record(2, models=("vague", "free"))], any_license=True)
    assert audit.n_kept == 2 and audit.rules["any_license"]
    assert "for you to check" in (tmp_path / "set" / "README.md").read_text()


def test_no_prompt_is_in_both_files_however_it_is_written(export: Callable, tmp_path: Path):
    spellings = ["Question {}?", "question {}?", "  Question  {}?\n"]
    records = [record(number, question=spellings[number % 3].format(question(number // 3))) for number in range(90)]
    audit = export(records)

    def asked(name: str) -> set[str]:
        return {" ".join(row["prompt"][0]["content"].lower().split()) for row in rows(tmp_path / "set", name)}

    assert len(asked("train")) == 27 and len(asked("test")) == 3 and not asked("train") & asked("test")
    assert (audit.n_train, audit.n_test, audit.n_prompts_train, audit.n_prompts_test) == (81, 9, 27, 3)


def test_later_turns_of_a_conversation_stay_with_its_opening(export: Callable, tmp_path: Path):
    records = []
    for number in range(20):
        opening = Message(role="user", content=question(number))
        records.append(record(2 * number, messages=(opening,)))
        records.append(
            record(2 * number + 1, messages=(opening, Message(role="assistant", content="A"), Message(role="user", content="More")))
        )
    export(records)
    assert not {row["prompt"][0]["content"] for row in rows(tmp_path / "set", "train")} & {
        row["prompt"][0]["content"] for row in rows(tmp_path / "set", "test")
    }


def test_the_same_votes_give_the_same_bytes_and_the_hash_is_theirs(export: Callable, tmp_path: Path):
    records = [record(number, question=question(number)) for number in range(30)]
    first, second = export(records, tmp_path / "a"), export(records, tmp_path / "b")
    written = [(tmp_path / folder / name).read_bytes() for name in ("train.jsonl", "test.jsonl") for folder in "ab"]
    assert written[0] == written[1] and written[2] == written[3]
    assert first.dataset_hash == second.dataset_hash == hashlib.sha256(written[0] + written[2]).hexdigest()
    assert export(records[1:], tmp_path / "c").dataset_hash != first.dataset_hash


def test_one_prompt_alone_is_all_for_training(export: Callable, tmp_path: Path):
    audit = export([record(1), record(2)])
    assert (audit.n_train, audit.n_test) == (2, 0) and rows(tmp_path / "set", "test") == []


def test_a_folder_that_holds_something_is_not_overwritten(export: Callable, tmp_path: Path):
    export([record(1)])
    before = (tmp_path / "set" / "train.jsonl").read_bytes()
    with pytest.raises(ExportRefused, match="is not empty: choose another --out, or --force"):
        export([record(2)])
    assert (tmp_path / "set" / "train.jsonl").read_bytes() == before
    export([record(2)], force=True)
    assert [row["vote_id"] for row in rows(tmp_path / "set", "train")] == ["v2"]
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_force_replaces_datasets_only(export: Callable, tmp_path: Path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("years of work")
    with pytest.raises(ExportRefused, match="no dataset of 'arena export'"):
        export([record(1)], home, force=True)
    assert (home / "thesis.tex").read_text() == "years of work"


def test_nothing_is_written_when_no_vote_qualifies(export: Callable, tmp_path: Path):
    with pytest.raises(ExportRefused, match=r"no vote makes a preference \(2 tie, 1 license_forbids\); --any-license keeps"):
        export([record(1, "tie"), record(2, "tie"), record(3, models=("closed", "free"))])
    with pytest.raises(ExportRefused, match="there are no votes"):
        export([])
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def real_votes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store(demo_votes(tmp_path_factory.mktemp("real") / "arena.duckdb")) as store:
        yield store


@pytest.mark.parametrize("format", ["dpo", "kto", "sft", "reward", "openai", "argilla"])
def test_every_one_of_the_8931_real_votes_is_accounted_for(format: str, real_votes: Store, tmp_path: Path):
    rules = Rules(any_license=True, ties=format == "kto", least=0)
    with answers_of(real_votes, tmp_path) as answers:
        casts = casts_of(real_votes, answers)
        audit = write_dataset(casts, tmp_path / "set", format=format, outputs_trainable=lambda _: None, rules=rules)
    with (tmp_path / "set" / "votes.csv").open() as file:
        became = {row["vote_id"]: row["became"] for row in csv.DictReader(file)}
    known = {vote.vote_id: (battle, vote) for battle, _, vote in real_votes.voted()}
    assert became.keys() == known.keys() and audit.n_votes == 8931 == audit.n_kept + sum(audit.dropped.values())
    assert Counter(became.values()) == Counter({"train": audit.n_train, "test": audit.n_test, **audit.dropped})
    assert json.loads((tmp_path / "set" / "audit.json").read_text()) == audit.model_dump(mode="json")
    if format == "argilla":
        records = json.loads((tmp_path / "set" / "records.json").read_text())
        assert {record["id"] for record in records} == {vote for vote, fate in became.items() if fate == "train"}
        return
    if format in ("dpo", "reward", "openai"):
        assert audit.dropped["tie"] == 3471 and audit.n_train > 2000 and audit.n_test > 200
    for part in ("train", "test"):
        assert len(rows(tmp_path / "set", part)) == getattr(audit, f"n_rows_{part}")
    sides = {side: [known[vote] for vote, fate in became.items() if fate == side] for side in ("train", "test")}
    for of in (lambda battle, vote: battle.messages[0].content, lambda battle, vote: vote.voter_id):
        train, test = ({of(*pair) for pair in sides[side]} for side in ("train", "test"))
        assert train and test and not train & test


def test_chosen_is_what_the_real_votes_chose(real_votes: Store, tmp_path: Path):
    with answers_of(real_votes, tmp_path) as answers:
        rules = Rules(any_license=True)
        write_dataset(casts_of(real_votes, answers), tmp_path / "set", format="dpo", outputs_trainable=lambda _: None, rules=rules)
    known = {vote.vote_id: (battle, pair, vote.winner) for battle, pair, vote in real_votes.voted()}
    for row in rows(tmp_path / "set", "train") + rows(tmp_path / "set", "test"):
        battle, pair, winner = known[row["vote_id"]]
        assert row["chosen_model"] == getattr(battle, winner) and row["rejected_model"] != row["chosen_model"]
        texts = [pair[0].text, pair[1].text] if winner == "model_a" else [pair[1].text, pair[0].text]
        assert [row["chosen"][0]["content"], row["rejected"][0]["content"]] == [text.strip() for text in texts]


def test_trl_and_datasets_read_it(export: Callable, tmp_path: Path):
    datasets = pytest.importorskip("datasets")
    export([record(number, question=question(number)) for number in range(30)])
    files = {name: str(tmp_path / "set" / f"{name}.jsonl") for name in ("train", "test")}
    loaded = datasets.load_dataset("json", data_files=files, cache_dir=str(tmp_path / "cache"))
    assert loaded["train"].num_rows == 27 and loaded["train"][0]["chosen"] == [{"role": "assistant", "content": "yes"}]


def test_a_tie_teaches_both_answers_and_both_bad_neither(export: Callable, tmp_path: Path):
    audit = export([record(1), record(2, "tie"), record(3, "both_bad")], format="kto", ties=True)
    labels = [(row["vote_id"], row["label"]) for row in rows(tmp_path / "set", "train")]
    assert labels == [("v1", True), ("v1", False), ("v2", True), ("v2", True), ("v3", False), ("v3", False)]
    assert (audit.n_kept, audit.n_rows_train, audit.n_decisive) == (3, 6, 1)
    # A tie teaches both answers, so both need permission; what is only unlearned needs none.
    closed = ("closed", "free")
    audit = export(
        [record(1), record(2, "tie", models=closed), record(3, "both_bad", models=closed)], tmp_path / "k", format="kto", ties=True
    )
    assert audit.dropped == {"license_forbids": 1}


def test_services_get_their_keys_and_nothing_else(export: Callable, tmp_path: Path):
    export([record(1, "model_b")], format="openai")
    assert rows(tmp_path / "set", "train") == [
        {
            "input": {"messages": [{"role": "user", "content": "Why?"}]},
            "preferred_output": [{"role": "assistant", "content": "no"}],
            "non_preferred_output": [{"role": "assistant", "content": "yes"}],
        }
    ]


def test_argilla_gets_records_with_what_the_vote_said(export: Callable, tmp_path: Path):
    export([record(1, "tie"), record(2, "both_bad")], format="argilla")
    first, second = json.loads((tmp_path / "set" / "records.json").read_text())
    assert first["fields"] == {"prompt": [{"role": "user", "content": "Why?"}], "answer_a": "yes", "answer_b": "no"}
    assert [found["suggestions"]["preference"]["value"] for found in (first, second)] == ["tie", "both_bad"]
    assert set(first) == {"id", "fields", "metadata", "suggestions", "responses", "vectors"}


def test_an_answer_is_learned_once_by_sft(export: Callable):
    assert export([record(1), record(2), record(3, "model_b")], format="sft").dropped == {"duplicate": 1}


def test_answers_asked_for_again_do_not_count(export: Callable, tmp_path: Path):
    again = [record(1, voter_id="ann"), record(2, voter_id="ann", texts=("no!", "well")), record(3, voter_id="bob", texts=("no!", "well"))]
    assert export(again).dropped == {"rerolled": 1}
    assert [row["vote_id"] for row in rows(tmp_path / "set", "train") + rows(tmp_path / "set", "test")] == ["v1", "v3"]


def test_one_voter_has_no_more_than_the_share(export: Callable, tmp_path: Path):
    loud = [record(number, question=question(number), voter_id="loud") for number in range(100)]
    others = [record(1000 + number, question=question(1000 + number), voter_id=f"v{number % 50}") for number in range(100)]
    audit = export(loud + others, split_by="prompt")
    assert audit.voter_limit == 10 and audit.dropped == {"one_voter": 90}
    kept = (tmp_path / "set" / "votes.csv").read_bytes()
    assert export(loud + others, tmp_path / "again", split_by="prompt") == audit and (tmp_path / "again" / "votes.csv").read_bytes() == kept
    export(loud + others, tmp_path / "other", split_by="prompt", seed=1)
    assert (tmp_path / "other" / "votes.csv").read_bytes() != kept
    # Two people who vote equally much have half each, which no share forbids.
    pair = [record(number, question=question(number), voter_id=f"v{number % 2}") for number in range(40)]
    assert "one_voter" not in export(pair, tmp_path / "pair").dropped


def test_a_benchmarks_question_is_left_out(export: Callable):
    asked = "Tell me, please: a robe takes 2 BOLTS of blue fiber, and half that much white fiber: how many bolts?"
    known = Grams([("robes", "A robe takes 2 bolts of blue fiber and half that much white fiber.  How many bolts in total does it take?")])
    near = "A robe takes 2 bolts of blue fiber and half that much red fiber."
    assert export([record(1, question=asked), record(2, question=near)], benchmarks=known).dropped == {"contaminated": 1}


def test_the_shipped_benchmarks_are_known():
    known = benchmark_grams()
    assert known.hit(json.loads((TASKS / "gsm8k" / "test.jsonl").read_text().split("\n")[700])["question"]) == "gsm8k"
    assert {"mmlu", "bbh", "ifeval", "humaneval", "arc", "truthfulqa", "mt_bench", "prime", "gsm8k"} == set(known.n_texts)
    assert known.hit("How do I bake a bread that my aunt from Ulm would eat with butter and some salt on a Sunday?") is None


def test_personal_data_are_marked_when_asked(export: Callable, tmp_path: Path):
    told = "Mail ada@example.org or call +49 30 1234567."
    audit = export([record(1, question=told, texts=(told, "no"))], scrub=True)
    row = rows(tmp_path / "set", "train")[0]
    assert row["prompt"][0]["content"] == row["chosen"][0]["content"] == "Mail [EMAIL] or call [PHONE]."
    assert audit.scrubbed == {"email": 2, "phone": 2}


def test_too_few_preferences_are_refused_with_the_reasons(export: Callable, tmp_path: Path):
    with pytest.raises(ExportRefused, match="1 preferences of 2 votes \\(1 tie\\): below 500 training tells little; .* --force"):
        export([record(1), record(2, "tie")], least=500)
    assert not list(tmp_path.iterdir())


def test_flagged_votes_are_left_out(tmp_path: Path):
    with Store(tmp_path / "arena.duckdb") as store:
        store.save_all([record(number, question=f"Q {number}") for number in range(3)])
        store.flag({"v1": "disagrees"}, datetime.now(UTC))
        with answers_of(store, tmp_path) as answers:
            casts = casts_of(store, answers)
            audit = write_dataset(casts, tmp_path / "set", format="dpo", outputs_trainable=FREE.get, rules=Rules(least=0))
    assert audit.dropped == {"flagged": 1} and audit.n_kept == 2
