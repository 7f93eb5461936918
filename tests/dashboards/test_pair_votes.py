"""The votes on a pair: all of them, page by page, and no word of a voter's that was not meant for everybody."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from ballot_box import demo_votes
from streamlit.testing.v1 import AppTest

from arena.rows import to_utc
from arena.store import Record, Store
from arena.votes import Battle, Vote, Winner
from dashboards import standings
from dashboards.pair_votes import as_rows, table, votes_of_pair
from serving.completion import Message

WHEN = datetime(2026, 3, 1, 12, tzinfo=UTC)


def record(name: str, left: str, right: str, winner: Winner, prompt: str, **more: str) -> Record:
    said = (Message(role="user", content=prompt),)
    battle = Battle(
        battle_id=name, created_at=WHEN, messages=said, model_a=left, model_b=right, voter_id="secret-voter", **_of(Battle, more)
    )
    vote = Vote(vote_id=name, battle_id=name, voter_id="secret-voter", winner=winner, voted_at=WHEN, **_of(Vote, more))
    return Record(battle, None, vote)


def _of(noun: type[Battle] | type[Vote], more: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in more.items() if key in noun.model_fields}


@pytest.fixture
def store(database: Path | str) -> Iterator[Store]:
    with Store(database) as store:
        store.save_all(
            [
                record("1", "x", "y", "model_a", "my own business"),
                record("2", "y", "x", "model_a", "from a published collection", source="arena55k"),
                record("3", "x", "y", "both_bad", "shared <b>by its voter</b>"),
                record("4", "x", "z", "model_a", "another pair"),
            ]
        )
        store.run(("insert_share", ["token-3", "3", to_utc(WHEN)]))
        yield store


def test_both_orders_of_a_pair_are_listed_newest_first_and_no_other_pair(store: Store):
    assert [vote.winner for vote in votes_of_pair(store, "y", "x")] == ["both bad", "y", "x"]
    assert [vote.winner for vote in votes_of_pair(store, "x", "y", page=2, per_page=2)] == ["x"]
    assert store.rows("pair_count", "y", "x")[0][0] == 3


def test_only_public_prompts_are_shown_and_never_a_voter(store: Store):
    votes = votes_of_pair(store, "x", "y")
    assert [vote.prompt for vote in votes] == ["shared <b>by its voter</b>", "from a published collection", None]
    shown = table(votes) + str(as_rows(votes))
    assert "secret-voter" not in shown and "my own business" not in shown
    assert "&lt;b&gt;by its voter" in table(votes) and "./?shared=token-3" in table(votes)


def test_the_page_opens_on_the_pair_in_its_address_and_turns_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def app() -> None:
        from dashboards import standings

        standings.page()

    with Store(demo_votes(tmp_path / "arena.duckdb")) as store:
        monkeypatch.setattr(standings, "current", lambda: SimpleNamespace(store=store, results=tmp_path))
        met = Counter(frozenset((record.battle.model_a, record.battle.model_b)) for record in store.voted())
        (pair, count), *_ = met.most_common(1)
        first, second = sorted(pair)
        page = AppTest.from_function(app, default_timeout=60)
        page.query_params["first"], page.query_params["second"] = first, second
        page.run()
        assert not page.exception
        html = "".join(element.proto.body for element in page.get("html"))
        assert f"The {count} votes on this pair" in html and "Expected by all ratings" in html and "not public" not in html
        assert page.markdown[0].value.startswith(f"**{first}** against **{second}**")
        assert "8,931 rated votes" in " ".join(caption.value for caption in page.caption)
