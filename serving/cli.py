"""`serving`: list endpoints, ping one, start an engine, serve a recording."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.command import RESULTS, AsJson, Results, emit, emit_json, entry, new_command, say

if TYPE_CHECKING:
    from serving.endpoints import Endpoint

app = new_command("Endpoints: what can be asked, where, and at which price.")


@app.command()
def ls(results: Results = RESULTS, as_json: AsJson = False) -> None:
    """List the endpoints: those of the catalogue and those started or trained here."""
    from serving.endpoints import load_endpoints

    endpoints = load_endpoints(results)
    if as_json:
        emit_json([endpoint.model_dump(mode="json", exclude_none=True) for endpoint in endpoints.values()])
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("endpoint", "organization", "wire", "weights", "price", box=None, pad_edge=False)
    for endpoint in endpoints.values():
        weights = {True: "open", False: "closed", None: "-"}[endpoint.open_weights]
        table.add_row(endpoint.id, endpoint.organization or "-", endpoint.wire, weights, _price(endpoint))
    Console().print(table)


@app.command()
def ping(
    endpoint_id: Annotated[str, typer.Argument(metavar="ID", help="Endpoint id, see 'serving ls'.")],
    prompt: Annotated[str | None, typer.Option(help="What to ask. A recording is asked its first prompt.")] = None,
    max_tokens: Annotated[int, typer.Option(help="Longest answer, in tokens.")] = 32,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Ask one short question and print the answer, its times and its cost."""
    import asyncio

    from serving.client import Client, check_reachable
    from serving.completion import Completion, Request
    from serving.endpoints import find_endpoint
    from serving.errors import Unreachable
    from serving.recorded import load_recording

    endpoint = find_endpoint(endpoint_id, results)
    if endpoint.wire == "recorded" and prompt is None:
        assert endpoint.recording is not None
        request = load_recording(endpoint.recording).requests(endpoint.model)[0]
    else:
        request = Request.user(prompt or "Say hello.", max_tokens=max_tokens)

    async def once() -> Completion:
        await check_reachable(endpoint)
        async with Client() as client:
            return await client.ask(endpoint, request)

    completion = asyncio.run(once())
    if not completion.answered:
        raise Unreachable(f"endpoint '{endpoint.id}' gave no answer ({completion.status}): {completion.error}")
    if as_json:
        emit_json(completion.model_dump(mode="json"))
        return
    emit(completion.text.strip())
    measured = {"ttft": completion.ttft_s, "latency": completion.latency_s}
    times = [f"{name} {value:.3g} s" for name, value in measured.items() if value is not None]
    tokens = "tokens not said" if completion.usage.output_tokens is None else f"{completion.usage.output_tokens} output tokens"
    cost = "cost unknown" if completion.cost_usd is None else f"${completion.cost_usd:.3g}"
    say(" · ".join([endpoint.id, completion.status, *times, tokens, cost]))


@app.command()
def up(
    model: Annotated[Path, typer.Argument(help="Folder with weights and tokenizer.")],
    engine: Annotated[str, typer.Option(help="Engine that serves it: transformers.")] = "transformers",
    endpoint_id: Annotated[str | None, typer.Option("--id", help="Endpoint id to register; the folder's name by default.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; a free one by default.")] = None,
    results: Results = RESULTS,
) -> None:
    """Start an engine on a model folder, register the endpoint, serve until Ctrl-C."""
    from serving.engines import serve_forever

    serve_forever(model, engine=engine, endpoint_id=endpoint_id, port=port, results=results)


@app.command()
def replay(
    recording: Annotated[Path, typer.Argument(metavar="FILE", help="A completions.jsonl or completions.jsonl.gz.")],
    speed: Annotated[float, typer.Option(min=0.001, help="Pace: 1 as recorded, 10 ten times faster, inf at once.")] = 1.0,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8600,
) -> None:
    """Serve a recording as an OpenAI-compatible server."""
    import uvicorn

    from serving.listening import claim_port
    from serving.replay import replay_app

    application = replay_app(recording, speed=speed)
    with claim_port(host, port) as listener:
        say(f"{recording} at http://{host}:{listener.getsockname()[1]}/v1")
        uvicorn.Server(uvicorn.Config(application, log_level="warning")).run(sockets=[listener])


def _price(endpoint: "Endpoint") -> str:
    price = endpoint.price
    if price is None:
        return "-"
    if price.usd_per_hour is not None:
        return f"${price.usd_per_hour:g}/h"
    return f"${price.input_usd_per_mtok:g} in, ${price.output_usd_per_mtok:g} out per Mtok"


main = entry(app)

if __name__ == "__main__":
    main()
