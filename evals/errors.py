"""What can go wrong when evaluating.

    BakeoffError                  (serving/errors.py)
    └── EvalsError
        ├── UnknownSuite          no such file and no shipped suite of that name
        ├── UnknownTask           no such file and no shipped task of that name
        ├── TaskError             a task that cannot be loaded, or that the endpoint cannot be asked
        ├── UnknownRun            no such run, or one that did not finish
        ├── RunExists             the folder named with --out already holds something
        ├── CannotResume          a run that is not this suite's, or that has nothing left to ask
        ├── BudgetError           a limit in dollars that cannot be kept
        ├── NothingAnswered       the run was kept, but no request of it was answered
        ├── LoadError             a load that cannot be made: options that contradict each other, a trace that cannot be read
        ├── CostError             a bill that cannot be made: no shape, no throughput, a demand file that does not fit
        └── NotComparable         runs whose items do not match, or nothing to compare
        ├── JudgeError            nothing to judge, or judgments and votes that do not fit together
        ├── PickError             wishes that cannot be understood, ratings that cannot be read, or nothing to choose from
        └── CostError             a bill that cannot be made: no shape, no throughput, a demand file that does not fit

A suite file that does not say what it must is a DocumentError. A request that fails raises nothing: it is counted, never scored.
"""

from serving.errors import BakeoffError


class EvalsError(BakeoffError):
    """Root of what `evals` raises."""


class UnknownSuite(EvalsError):
    """No file and no shipped suite of this name."""


class UnknownTask(EvalsError):
    """No file and no shipped task of this name."""


class TaskError(EvalsError):
    """A task that cannot be loaded, or that cannot be asked of this endpoint."""


class UnknownRun(EvalsError):
    """No run of this name, or one that did not finish."""


class RunExists(EvalsError):
    """The folder for a run already holds something; a run never overwrites."""


class CannotResume(EvalsError):
    """The run that was named is another suite's, was asked otherwise, or is whole."""


class BudgetError(EvalsError):
    """A limit in dollars for an endpoint whose price nobody knows."""


class NothingAnswered(EvalsError):
    """Not one request of the run was answered, so there is nothing to score."""


class LoadError(EvalsError):
    """A load that cannot be made as it was asked for: an option's value, two options at odds, a trace or a stored run that does not fit."""


class JudgeError(EvalsError):
    """Nothing that can be judged, judgments that cannot be resumed, or votes that they cannot be compared with."""


class CostError(EvalsError):
    """A bill that cannot be made from what was given."""


class NotComparable(EvalsError):
    """Runs or endpoints that cannot be set against each other: their items differ, or there are none in common."""


class PickError(EvalsError):
    """Wishes that cannot be understood, a leaderboard file that cannot be read, or nothing at all to choose from."""
