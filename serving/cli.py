"""`serving`: list endpoints, ping one, start an engine or attach a server, serve a recording."""

import sys
from datetime import datetime
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
def prices(
    endpoint_ids: Annotated[list[str] | None, typer.Option("--endpoint", metavar="ID", help="Only this endpoint; repeatable.")] = None,
    on: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"], help="Day or minute, UTC.")] = None,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Show what each endpoint costs, now or on a date, who says so, and since when."""
    from datetime import UTC

    from serving.endpoints import load_endpoints, pick
    from serving.overrides import unused
    from serving.prices import described

    endpoints = load_endpoints(results)
    chosen = [pick(endpoints, name) for name in endpoint_ids or []] or [one for one in endpoints.values() if one.wire != "recorded"]
    rows = [described(endpoint, on.replace(tzinfo=UTC) if on else datetime.now(UTC)) for endpoint in chosen]
    for line in unused(endpoints, results):
        say(line)
    if as_json:
        emit_json(rows)
        return
    from rich.console import Console
    from rich.table import Table

    columns = {"input": "input_usd_per_mtok", "output": "output_usd_per_mtok", "cached": "cache_read_usd_per_mtok"}
    columns |= {"batch in": "batch_input_usd_per_mtok", "batch out": "batch_output_usd_per_mtok", "a request": "usd_per_request"}
    table = Table("endpoint", *columns, "hour", "since", "source", box=None, pad_edge=False, title="dollars per million tokens")
    for row in rows:
        cells = [f"{row[key]:g}" + ("+" if name in ("input", "output") and "above_input_tokens" in row else "") if key in row else "–"
                 for name, key in columns.items()]  # fmt: skip
        hour = f"{row['usd_per_hour']:g}" if "usd_per_hour" in row else "–"
        checked = f", checked {row['checked_on']}" if "checked_on" in row else ""
        source = row.get("source", "–" if "usd_per_hour" in row else "unknown")
        table.add_row(row["endpoint"], *cells, hour, row.get("since", "–"), source + checked)
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    if any("above_input_tokens" in row for row in rows):
        emit("+ more above a number of input tokens: see --json")


@app.command()
def ping(
    endpoint_id: Annotated[str, typer.Argument(metavar="ID", help="Endpoint id, see 'serving ls'.")],
    prompt: Annotated[str | None, typer.Option(help="What to ask. A recording is asked its first prompt.")] = None,
    max_tokens: Annotated[int, typer.Option(help="Longest answer, in tokens.")] = 32,
    probe: Annotated[bool, typer.Option("--probe", help="Check what the server can do instead (some twenty tiny requests).")] = False,
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
    if probe:
        from serving.probe import look_now

        seen = look_now(endpoint)
        if as_json:
            emit_json(seen.model_dump(mode="json"))
        else:
            emit("\n".join(f"{name:12}{found}" for name, found in seen.checks.items()))
        return
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
    model: Annotated[Path, typer.Argument(help="Folder with weights and tokenizer; a .gguf file for llamacpp.")],
    engine: Annotated[str, typer.Option(help="Engine that serves it: vllm, transformers, llamacpp, mlx.")] = "transformers",
    endpoint_id: Annotated[str | None, typer.Option("--id", help="Endpoint id to register; the folder's name by default.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; a free one by default.")] = None,
    lora: Annotated[list[str] | None, typer.Option(metavar="NAME=PATH", help="Adapter, an endpoint of its own (vllm); repeatable.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A flag of the engine's; repeatable.")] = None,
    install: Annotated[bool, typer.Option("--install", help="Make the engine's environment when it is not there.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also a training that its gate refused.")] = False,
    leashed: Annotated[bool, typer.Option("--leashed", help="Also ends when standard input is closed: its starter is gone.")] = False,
    results: Results = RESULTS,
) -> None:
    """Start an engine on a model, probe it, register the endpoint, serve until Ctrl-C."""
    from serving.engines import Options, serve_forever
    from serving.engines.launch import pairs

    adapters = {name: Path(path) for name, path in pairs("--lora", lora or []).items()}
    options = Options(adapters=adapters, settings=pairs("--set", settings or []), install=install, force=force)
    serve_forever(model, results=results, engine=engine, endpoint_id=endpoint_id, port=port, options=options, leashed=leashed)


@app.command()
def attach(
    base_url: Annotated[str, typer.Option(help="Where the server answers: http://HOST:PORT, with or without /v1.")],
    model: Annotated[str | None, typer.Option(help="Model name that requests must give.")] = None,
    endpoint_id: Annotated[str | None, typer.Option("--id", help="Endpoint id; the model's name by default.")] = None,
    engine: Annotated[str | None, typer.Option(help="What runs there: vllm, tgi, hf, ray, sglang, llama-server.")] = None,
    api_key_env: Annotated[str | None, typer.Option(metavar="NAME", help="Variable that holds the key, never the key.")] = None,
    usd_per_hour: Annotated[float | None, typer.Option(min=0, help="Price of the machine.")] = None,
    lora: Annotated[list[str] | None, typer.Option(metavar="NAME=PATH", help="Load this adapter on a vLLM registered there.")] = None,
    results: Results = RESULTS,
) -> None:
    """Register a server that runs elsewhere, after probing what it can do."""
    from serving.engines.attach import Server, attach_all

    if (model is None) == (not lora):
        raise typer.BadParameter("give either --model or --lora NAME=PATH")
    for endpoint in attach_all(Server(base_url, model or "", endpoint_id, engine, api_key_env, usd_per_hour), lora or [], results=results):
        say(f"{endpoint.id} at {endpoint.base_url}, registered in {results / 'endpoints'}")


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
    if price is None or (price.input_usd_per_mtok is None and price.usd_per_hour is None):
        # Looked up by date: 'serving prices' does that, a list of names need not wait for it.
        return "list" if endpoint.wire != "recorded" and endpoint.data_leaves else "-"
    if price.usd_per_hour is not None:
        return f"${price.usd_per_hour:g}/h"
    return f"${price.input_usd_per_mtok:g} in, ${price.output_usd_per_mtok:g} out per Mtok"


main = entry(app)

if __name__ == "__main__":
    main()
