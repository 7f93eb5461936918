"""What can go wrong with votes.

    BakeoffError
    └── ArenaError
        ├── StoreInUse        another process holds the database
        ├── StoreUnreachable  the database's server is away, or the connection was lost
        ├── StoreUnwritable   the disk is full, or the database read-only; what was stored is there
        ├── UnknownBattle     a vote for a battle that was never served
        ├── UnknownVoter      nobody of this id was here
        ├── VotesFileError    a votes file that does not say what it must: names file, line, value
        ├── NothingToRate     no vote, or none that makes two models comparable
        └── ExportRefused     a dataset that would overwrite another, or hold nothing

Each message is one line and names the remedy.
"""

from serving.errors import BakeoffError


class ArenaError(BakeoffError):
    """Root of what `arena` raises."""


class StoreInUse(ArenaError):
    """Another process holds the database file; DuckDB lets no second one even read it."""


class StoreUnreachable(ArenaError):
    """The database's server does not answer; what was asked for can be asked again, and says so where it may have been written."""


class StoreUnwritable(ArenaError):
    """Nothing can be stored now: a full disk, a read-only file or server. What was stored before is there and can be read."""


class UnknownBattle(ArenaError):
    """A vote names a battle that the store does not hold."""


class UnknownVoter(ArenaError):
    """Nobody of this id was shown a battle or voted."""


class VotesFileError(ArenaError):
    """A votes file with a missing column, an unknown label, a model against itself: names file, line, value and remedy."""


class NothingToRate(ArenaError):
    """There is no vote to rate models by."""


class ExportRefused(ArenaError):
    """The dataset was not written: the folder holds something, or no vote qualified."""
