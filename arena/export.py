"""Votes become a dataset folder: train.jsonl and test.jsonl, README.md (the card), audit.json and votes.csv, which account for every vote.

    arena export --format dpo --out results/datasets/first

One walk over the votes drops what is not to be learned from (arena/preferences.py) and puts the rows of the others into a file without a
name; then it is known who voted most and who asked what, so that the split is made and the rows are copied to their side. Neither step
holds texts in memory. The same votes give the same bytes.
"""

import csv
import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from arena.card import card
from arena.cast import Cast
from arena.clusters import PromptClusters
from arena.errors import ExportRefused
from arena.preferences import DROPPED, Rules, Sieve
from arena.scrub import scrub
from arena.shapes import Format, rows_of
from arena.split import NEITHER, TEST, TRAIN, shared, split
from serving.documents import Noun

if TYPE_CHECKING:
    from arena.contamination import Grams

_FILES = ("train.jsonl", "test.jsonl")
_RECORDS = "records.json"
# Made once: json.dumps would make an encoder for every row.
_ENCODE = json.JSONEncoder(ensure_ascii=False).encode


class Audit(Noun):
    """What became of every vote: n_votes = n_kept + the sum of `dropped`; n_kept = n_train + n_test. A vote may be several rows (kto).

    `dataset_hash` is the SHA-256 of train.jsonl followed by test.jsonl (argilla: of records.json). `voter_limit` is how many votes
    one voter may have, `scrubbed` how many places of each kind were marked, `benchmarks` how many texts of each task were compared.
    """

    format: str
    n_votes: int
    n_kept: int
    n_decisive: int
    n_train: int
    n_test: int
    n_rows_train: int
    n_rows_test: int
    n_prompts_train: int
    n_prompts_test: int
    n_voters_train: int
    n_voters_test: int
    n_of_unknown_voters: int
    dropped: dict[str, int]
    sources: dict[str, int]
    chosen_models: dict[str, int]
    rules: dict[str, Any]
    voter_limit: int | None
    scrubbed: dict[str, int] | None
    benchmarks: dict[str, int] | None
    dataset_hash: str


@dataclass
class _Kept:
    """One entry for each vote that passed on its own: where it stands among all votes, its rows' size and number, its prompt and voter."""

    places: list[int] = field(default_factory=list)
    n_bytes: list[int] = field(default_factory=list)
    n_rows: list[int] = field(default_factory=list)
    prompts: list[int] = field(default_factory=list)
    voters: list[int] = field(default_factory=list)
    decisive: list[bool] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)


def export(
    casts: Iterable[Cast],
    out: Path,
    *,
    format: Format,
    outputs_trainable: Callable[[str], bool | None],
    rules: Rules | None = None,
    benchmarks: "Grams | None" = None,
) -> Audit:
    """Write the dataset folder `out`, whole or not at all. `outputs_trainable` tells an endpoint id's permission (None: not said).

    Raises ExportRefused when `out` holds something (`force` replaces a dataset, nothing else) or when too few votes qualify.
    """
    rules = rules or Rules()
    check_free(out, rules.force)
    sieve = Sieve(format, rules, outputs_trainable, benchmarks=benchmarks)
    with _replacing(out) as fresh, tempfile.TemporaryFile(dir=fresh.parent) as spool:
        votes, fates, kept, clusters, scrubbed = _walk(casts, sieve, spool)
        if not kept.places:
            raise ExportRefused(_nothing(Counter(fates)))
        prompts = clusters.keys()[np.array(kept.prompts)]
        sides, limit, split_by = _sides(kept, prompts, rules, format)
        for place, side in zip(kept.places, sides, strict=True):
            fates[place] = ("train", "test", "split", "one_voter")[side]
        # The split's own loss is the price of an honest test, no sign of too few votes.
        n_decisive = int(np.array(kept.decisive)[sides <= NEITHER].sum())
        if n_decisive < rules.least and format != "argilla":
            few = ", ".join(f"{number:,} {reason}" for reason, number in Counter(fates).most_common() if reason in DROPPED)
            raise ExportRefused(
                f"{n_decisive:,} preferences of {len(votes):,} votes ({few or 'none dropped'}): below {rules.least} training tells "
                "little; collect more votes, or --force to write them all the same"
            )
        hashed = _write_rows(fresh, spool, kept, sides, format)
        audit = _audit(
            fates,
            kept,
            sides,
            prompts,
            format=format,
            rules=replace(rules, split_by=split_by),
            limit=limit,
            scrubbed=scrubbed,
            hashed=hashed,
            sieve=sieve,
        )
        with (fresh / "votes.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([("vote_id", "became"), *zip(votes, fates, strict=True)])
        (fresh / "audit.json").write_text(audit.model_dump_json(indent=2) + "\n", encoding="utf-8", newline="\n")
        (fresh / "README.md").write_text(card(out.resolve().name, audit), encoding="utf-8", newline="\n")
    return audit


def _walk(casts: Iterable[Cast], sieve: Sieve, spool: IO[bytes]) -> tuple[list[str], list[str], _Kept, PromptClusters, Counter[str]]:
    """(ids of all votes, what became of each so far, those that passed, their prompts, what was scrubbed); rows go to `spool`."""
    votes: list[str] = []
    fates: list[str] = []
    kept, clusters, scrubbed, voters = _Kept(), PromptClusters(), Counter[str](), dict[str, int]()

    def clean(text: str) -> str:
        if not sieve.rules.scrub:
            return text
        text, found = scrub(text)
        scrubbed.update(found)
        return text

    for cast in casts:
        reason = sieve.reason(cast)
        votes.append(cast.vote_id)
        fates.append(reason or "")
        if reason is not None:
            continue
        rows = rows_of(sieve.format, cast, clean)
        line = "".join(_ENCODE(row) + "\n" for row in rows).encode("utf-8", "replace")
        spool.write(line)
        kept.places.append(len(votes) - 1)
        kept.n_bytes.append(len(line))
        kept.n_rows.append(len(rows))
        # The opening question, so that later turns of one conversation stay with it.
        opening = next((turn["content"] for turn in cast.messages if turn["role"] == "user"), cast.messages[0]["content"])
        kept.prompts.append(clusters.add(opening))
        kept.voters.append(-1 if cast.voter is None else voters.setdefault(cast.voter, _key(cast.voter)))
        kept.decisive.append(cast.winner in ("model_a", "model_b"))
        kept.models.append({"model_a": cast.model_a, "model_b": cast.model_b}.get(cast.winner, cast.winner))
        kept.sources.append(cast.source)
    return votes, fates, kept, clusters, scrubbed


def _key(voter: str) -> int:
    return int.from_bytes(hashlib.blake2b(voter.encode("utf-8", "surrogatepass"), digest_size=7).digest(), "big")


def _sides(kept: _Kept, prompts: npt.NDArray[np.uint64], rules: Rules, format: Format) -> tuple[npt.NDArray[np.int8], int | None, str]:
    """(TRAIN, TEST, NEITHER or 3 (beyond one voter's share) of each kept vote; votes that one voter may have; what the split is by)."""
    known = np.array(kept.voters, dtype=np.int64)
    over, limit = _beyond(known, rules)
    sides = np.full(len(known), 3, dtype=np.int8)
    rest = ~over
    if format == "argilla":
        sides[rest] = TRAIN
        return sides, limit, "none"
    # The first voter of a new arena, or its only one: the votes cannot be told apart by who cast them.
    split_by = "prompt" if len(np.unique(known)) == 1 else rules.split_by
    voters = np.where((known < 0) | (split_by == "prompt"), prompts, known.astype(np.uint64))
    sides[rest] = split(prompts[rest], voters[rest])
    people = np.where(known < 0, prompts, known.astype(np.uint64))
    leaks = shared(sides, prompts) or (split_by == "both" and shared(sides, people))
    if leaks:
        raise AssertionError(f"{leaks} prompts or voters are in both train and test")
    return sides, limit, split_by


def _beyond(voters: npt.NDArray[np.int64], rules: Rules) -> tuple[npt.NDArray[np.bool_], int | None]:
    """Which votes are beyond the share that one voter may have of all; drawn by the seed. An equal share for each is always allowed."""
    over = np.zeros(len(voters), dtype=bool)
    who, inverse, counts = np.unique(voters, return_inverse=True, return_counts=True)
    people = who >= 0
    if rules.max_voter_share >= 1 or not people.any():
        return over, None
    limit = int(np.ceil(counts[people].sum() * max(rules.max_voter_share, 1 / people.sum())))
    order = np.random.default_rng(rules.seed).permutation(len(voters))
    for place in np.flatnonzero(people & (counts > limit)):
        own = order[inverse[order] == place]
        over[own[limit:]] = True
    return over, limit


def _write_rows(fresh: Path, spool: IO[bytes], kept: _Kept, sides: npt.NDArray[np.int8], format: Format) -> str:
    """Copy each vote's rows to its side; returns the SHA-256 of what was written, train first."""
    spool.seek(0)
    digest = hashlib.sha256()
    if format == "argilla":
        with (fresh / _RECORDS).open("wb") as file:
            before = b"[\n"
            for size, side in zip(kept.n_bytes, sides.tolist(), strict=True):
                line = spool.read(size)
                if side == TRAIN:
                    file.write(before + line.rstrip(b"\n"))
                    before = b",\n"
            file.write(b"\n]\n")
        names: tuple[str, ...] = (_RECORDS,)
    else:
        names = _FILES
        with (fresh / names[TRAIN]).open("wb") as train, (fresh / names[TEST]).open("wb") as test:
            for size, side in zip(kept.n_bytes, sides.tolist(), strict=True):
                line = spool.read(size)
                if side <= TEST:
                    (train, test)[side].write(line)
    for name in names:
        with (fresh / name).open("rb") as written:
            while block := written.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _audit(
    fates: list[str],
    kept: _Kept,
    sides: npt.NDArray[np.int8],
    prompts: npt.NDArray[np.uint64],
    *,
    format: Format,
    rules: Rules,
    limit: int | None,
    scrubbed: Counter[str],
    hashed: str,
    sieve: Sieve,
) -> Audit:
    counted, voters, n_rows, decisive = Counter(fates), np.array(kept.voters), np.array(kept.n_rows), np.array(kept.decisive)
    stay = sides <= TEST
    places = np.flatnonzero(stay)
    people = [len(np.unique(voters[(sides == side) & (voters >= 0)])) for side in (TRAIN, TEST)]
    stated = asdict(rules)
    audit = Audit(
        format=format,
        n_votes=len(fates),
        n_kept=int(stay.sum()),
        n_decisive=int(decisive[stay].sum()),
        n_train=counted["train"],
        n_test=counted["test"],
        n_rows_train=int(n_rows[sides == TRAIN].sum()),
        n_rows_test=int(n_rows[sides == TEST].sum()),
        n_prompts_train=len(np.unique(prompts[sides == TRAIN])),
        n_prompts_test=len(np.unique(prompts[sides == TEST])),
        n_voters_train=people[TRAIN],
        n_voters_test=people[TEST],
        n_of_unknown_voters=int((voters[stay] < 0).sum()),
        dropped={reason: counted[reason] for reason in DROPPED if counted[reason]},
        sources=dict(Counter(kept.sources[place] for place in places).most_common()),
        chosen_models=dict(Counter(kept.models[place] for place in places if kept.decisive[place]).most_common()),
        rules={key: stated[key] for key in stated if key not in ("force", "least")},
        voter_limit=limit,
        scrubbed=dict(scrubbed) if rules.scrub else None,
        benchmarks=None if sieve.benchmarks is None else sieve.benchmarks.n_texts,
        dataset_hash=hashed,
    )
    if audit.n_votes != audit.n_kept + sum(audit.dropped.values()) or audit.n_kept != audit.n_train + audit.n_test:
        raise AssertionError(f"the votes do not add up: {audit}")
    return audit


def _nothing(fates: Counter[str]) -> str:
    why = ", ".join(f"{number} {reason}" for reason, number in fates.most_common()) or "there are no votes"
    remedy = "; --any-license keeps answers of every licence" if fates["license_unknown"] + fates["license_forbids"] else ""
    return f"no vote makes a preference ({why}){remedy}"


def check_free(out: Path, force: bool) -> None:
    """Raise ExportRefused unless `out` is new or empty, or `force` may replace the dataset in it."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ExportRefused(f"{out} is not a folder: choose another --out")
    if not out.exists() or not any(out.iterdir()):
        return
    if not force:
        raise ExportRefused(f"{out} is not empty: choose another --out, or --force to replace the dataset in it")
    if not (out / "audit.json").is_file() or not any((out / name).is_file() for name in (_FILES[TRAIN], _RECORDS)):
        raise ExportRefused(
            f"{out} holds something that is no dataset of 'arena export': --force does not replace it; choose another --out"
        )


@contextmanager
def _replacing(out: Path) -> Iterator[Path]:
    """A fresh folder beside the target that takes its name at the end: a crash leaves either the old folder or the new one whole."""
    parent = out.resolve().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=parent, prefix=f".{out.name}."))
    except OSError as error:
        raise ExportRefused(f"{out} cannot be written: {error.strerror}; choose another --out") from None
    old = fresh.with_name(fresh.name + ".old")
    try:
        fresh.chmod(0o755)
        yield fresh
        for path in fresh.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        if out.exists() and any(out.iterdir()):
            out.rename(old)
        fresh.replace(out)
    except BaseException:
        if old.exists() and not out.exists():
            old.rename(out)
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)
