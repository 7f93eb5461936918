"""`dashboards`: the whole house on one address."""

from pathlib import Path
from typing import Annotated

import typer

from serving.command import RESULTS, Results, entry, new_command

app = new_command("The whole house on one address: battle, leaderboard, head to head, trade-offs.")


@app.callback()
def _room() -> None:
    """Without a callback typer would take the only command for the room itself."""


@app.command()
def up(
    demo: Annotated[
        bool, typer.Option("--demo", help="Open with 59 recorded models, 8,931 real votes and the demo suite's scores.")
    ] = False,
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8501,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    database: Annotated[str | None, typer.Option(help="Votes: a DuckDB file or postgresql://…; <results>/arena.duckdb by default.")] = None,
    refresh: Annotated[float, typer.Option(min=1, help="Seconds between two looks at the votes, where another arena holds them.")] = 60,
    results: Results = RESULTS,
) -> None:
    """Serve the arena's pages and the dashboards until Ctrl-C; without the battle page beside an arena that holds the votes."""
    from arena.database import locate
    from arena.server import serve
    from dashboards import beside
    from dashboards.ahead import prepare
    from dashboards.demo import scored_in_the_background

    script, location = Path(__file__).parent / "app.py", locate(database, results)
    with scored_in_the_background(results, wanted=demo):
        if beside.held(location, results):
            beside.serve(script, host=host, port=port, database=location, results=results, every_s=refresh)
        else:
            serve(script, host=host, port=port, database=location, results=results, demo=demo, ahead=prepare)


main = entry(app)

if __name__ == "__main__":
    main()
