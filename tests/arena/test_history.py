"""Ratings over time: the last moment is the board as it stands, and no earlier moment knows of a later vote."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from arena.ballots import Ballots
from arena.history import history, until
from arena.ratings import rate
from arena.store import Record, Store
from arena.votes import Battle, Vote

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def votes(n: int, *, timed: bool) -> Ballots:
    rng = np.random.default_rng(3)
    a = rng.integers(0, 3, n)
    b = (a + rng.integers(1, 3, n)) % 3
    time_s = BEGIN.timestamp() + np.arange(n) * 86_400.0 / 5 if timed else np.full(n, np.nan)
    return Ballots(("x", "y", "z"), a, b, (rng.random(n) < 0.4 + 0.1 * a).astype(np.int64), time_s=time_s)


@pytest.mark.parametrize("timed", [True, False])
def test_the_last_moment_is_the_board_of_today(timed: bool):
    ballots = votes(600, timed=timed)
    moments = history(ballots, 10)
    assert moments[-1].ratings == rate(ballots).ratings and moments[-1].n_votes == 600
    assert [moment.n_votes for moment in moments] == sorted({moment.n_votes for moment in moments})
    assert all((moment.at is not None) == timed for moment in moments) and len(moments) == 10


def test_each_moment_is_the_board_of_the_votes_until_then():
    ballots = votes(600, timed=True)
    moment = history(ballots, 10)[3]
    assert moment.at is not None and ballots.time_s is not None
    kept = ballots.where(ballots.time_s < moment.at.timestamp())
    assert moment.n_votes == len(kept) and moment.ratings == rate(kept).ratings == until(ballots, moment.at)


def test_votes_without_a_time_count_from_the_beginning():
    ballots = votes(600, timed=True)
    assert ballots.time_s is not None
    ballots.time_s[:100] = np.nan
    assert history(ballots, 10)[0].n_votes > 100
    assert until(ballots, BEGIN - timedelta(days=1)) == rate(ballots.where(np.arange(600) < 100)).ratings


def test_a_model_that_is_not_there_yet_has_no_line():
    ballots = votes(600, timed=True)
    late = (ballots.a == 2) | (ballots.b == 2)
    keep = ~late | (np.arange(600) > 300)
    moments = history(ballots.where(keep), 10)
    assert {row.model for row in moments[0].ratings} == {"x", "y"} and {row.model for row in moments[-1].ratings} == {"x", "y", "z"}


def test_no_votes_have_no_history():
    assert history(votes(0, timed=False)) == []


def test_the_store_says_when_each_rated_vote_was_cast(database: Path | str):
    with Store(database) as store:
        records = []
        for number, when in enumerate((None, BEGIN, BEGIN + timedelta(days=1))):
            battle = Battle(battle_id=f"b{number}", created_at=None, messages=(), model_a="x", model_b="y")
            vote = Vote(vote_id=f"v{number}", battle_id=f"b{number}", voter_id=None, winner="tie", voted_at=when)
            records.append(Record(battle, None, vote))
        unrated = records[1].vote.model_copy(update={"vote_id": "v9", "battle_id": "b9", "rated": False})
        records.append(Record(records[1].battle.model_copy(update={"battle_id": "b9"}), None, unrated))
        store.save_all(records)
        found = store.ballots(times=True).time_s
    assert found is not None
    assert np.isnan(found[0]) and found[1:].tolist() == [BEGIN.timestamp(), BEGIN.timestamp() + 86_400]
