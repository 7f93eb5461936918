"""A voter's deletion request is answered: which votes, datasets, trainings, endpoints and battles hang on it, and the other way."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainers import lineage
from trainers.data import dataset_hash
from trainers.errors import UnknownTraining
from trainers.lineage import trace
from trainers.record import Training, write_training


def vote(number: int, voter: str, *models: str) -> dict[str, str]:
    return {"vote_id": f"v{number}", "battle_id": f"b{number}", "voter_id": voter, "model_a": models[0], "model_b": models[1]}


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_record: Callable[..., Training]) -> Path:
    """Two votes by ann and one by bob; bob's was not exported; t2 was made from t1; t2 has fought."""
    votes = [vote(1, "ann", "x", "y"), vote(2, "ann", "x", "y"), vote(3, "bob", "t2", "y")]
    monkeypatch.setattr(lineage, "_votes", lambda results: votes)
    data = tmp_path / "datasets" / "first"
    data.mkdir(parents=True)
    (data / "train.jsonl").write_text("".join(json.dumps({"vote_id": one}) + "\n" for one in ("v1", "v2")))
    common: dict[str, Any] = {"dataset": str(data), "dataset_hash": dataset_hash(data)}
    new_record(tmp_path / "trainings" / "t1", training_id="t1", **common)
    second = new_record(tmp_path / "trainings" / "t2", training_id="t2", parent="t1", **common)
    write_training(second.model_copy(update={"dataset": "elsewhere"}), tmp_path / "trainings" / "t2")
    return tmp_path


def test_forward_from_a_voter(house: Path):
    trail = trace("ann", house)
    assert trail["votes"] == ["v1", "v2"] and trail["datasets"][0]["n_votes"] == 2 and not trail["datasets"][0]["changed"]
    # t2 saw none of these rows, but started from weights that did.
    assert [one["training_id"] for one in trail["trainings"]] == ["t1", "t2"]
    assert trail["endpoints"] == ["t1", "t2"] and trail["battles"] == ["b3"]


def test_a_voter_whose_votes_were_not_exported_taught_nobody(house: Path):
    trail = trace("bob", house)
    assert trail["votes"] == ["v3"] and trail["datasets"] == [] and trail["trainings"] == []


def test_backward_from_a_training_an_endpoint_and_a_battle(house: Path):
    for name in ("t2", "b3"):
        trail = trace(name, house)
        assert [one["training_id"] for one in trail["trainings"]] == ["t2", "t1"]
        assert trail["voters"] == ["ann"] and trail["votes"] == ["v1", "v2"] and trail["battles"] == ["b3"]


def test_a_dataset_that_was_changed_since_is_told(house: Path):
    with (house / "datasets" / "first" / "train.jsonl").open("a") as file:
        file.write("\n")
    assert trace("v1", house)["datasets"][0]["changed"]


def test_what_nobody_knows_is_an_error(house: Path):
    with pytest.raises(UnknownTraining, match="nothing here is called 'carl'"):
        trace("carl", house)
