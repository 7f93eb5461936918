"""`evals`: run a suite, score a run anew, make load, list what there is, show a run's report.

evals run suites/demo.yaml
evals load --endpoint my-llama --concurrency 32
evals run demo --endpoint my-llama --limit 200 --json
"""

from pathlib import Path

from evals.compare_command import compare
from evals.cost_command import cost
from evals.drift_command import drift
from evals.judging.command import calibrate, judge
from evals.load.command import load
from evals.pick.command import pick
from evals.report_command import report
from evals.run_command import rescore, run
from evals.texts import texts
from serving.command import RESULTS, AsJson, Results, emit, emit_json, entry, new_command

app = new_command("Which model is right more often, how fast, and at what cost.")
app.command()(run)
app.command()(rescore)
app.command()(load)

app.command()(report)


@app.command()
def ls(results: Results = RESULTS, as_json: AsJson = False) -> None:
    """List the shipped suites and tasks, and the runs kept here."""
    from evals.runs import read_run_record, run_folders
    from evals.suite import SUITES, shipped_suites
    from evals.task_files import TASKS, shipped_tasks

    suites = {name: _first_comment(SUITES / f"{name}.yaml") for name in shipped_suites()}
    tasks = {name: _first_comment(TASKS / f"{name}.yaml") for name in shipped_tasks()}
    runs = [read_run_record(folder) for folder in run_folders(results)]
    if as_json:
        kept = [run.model_dump(mode="json", exclude={"config", "versions"}) for run in runs]
        emit_json({"suites": suites, "tasks": tasks, "runs": kept})
        return
    for title, entries in (("suites", suites), ("tasks", tasks)):
        emit(f"{title}:")
        for name, says in entries.items():
            emit(f"  {name:<20} {says}")
    emit(f"runs in {results / 'runs'}:" if runs else f"runs in {results / 'runs'}: none yet; try 'evals run demo'")
    for kept_run in runs:
        emit(f"  {kept_run.run_id}  {len(kept_run.endpoints)} endpoints{'' if kept_run.finished_at else ', did not finish'}")


app.command()(cost)
app.command()(compare)
app.command()(texts)
app.command()(drift)
app.command()(judge)
app.command()(calibrate)
app.command()(pick)


def _first_comment(path: Path) -> str:
    line = path.read_text(encoding="utf-8").split("\n", 1)[0]
    return line.removeprefix("#").strip() if line.startswith("#") else ""


main = entry(app)

if __name__ == "__main__":
    main()
