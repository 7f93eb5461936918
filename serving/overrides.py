"""What you pay instead of what the catalogue or the price list says: one YAML file, named by `BAKEOFF_PRICES`, else results/prices.yaml.

    endpoints:                                     # by endpoint id; wins over models
      our-llama: {usd_per_hour: 2.0, accelerators: 1×L40S}
      gpt-5.4: {discount: 0.15, source: committed spend 2026, checked_on: 2026-11-01}
    models:                                        # by model name, for every endpoint that is asked for it
      gpt-4o-mini: {batch_input_usd_per_mtok: 0.07, batch_output_usd_per_mtok: 0.28}

Keys that are stated replace those of the endpoint's own price, the others stay. Prices become part of the endpoint, so that a run's record
has them.
"""

import os
from pathlib import Path
from typing import Any

from serving.documents import Noun, parse_document, read_document
from serving.endpoints import Endpoint, Price
from serving.errors import did_you_mean

PER_TOKEN = frozenset(name for name in Price.model_fields if name.endswith("_per_mtok")) | {"discount"}
PER_HOUR = frozenset({"usd_per_hour", "accelerators"})


class Overrides(Noun):
    """The file: keys of a Price by endpoint id and by model name."""

    endpoints: dict[str, dict[str, Any]] = {}
    models: dict[str, dict[str, Any]] = {}


def overrides_file(results: Path | None) -> Path | None:
    """The file that holds here, None when there is none. One named by the environment must exist; results/prices.yaml need not."""
    if named := os.environ.get("BAKEOFF_PRICES"):
        return Path(named)
    return results / "prices.yaml" if results is not None and (results / "prices.yaml").is_file() else None


def with_overrides(endpoints: dict[str, Endpoint], results: Path | None) -> dict[str, Endpoint]:
    """The endpoints with the prices of the overrides file. Raises DocumentError for a key or value that no Price has.

    A name that no endpoint has is no error, since endpoints come and go with their servers: see `unused`.
    """
    if (path := overrides_file(results)) is None:
        return endpoints
    found = read_document(path, Overrides)
    for kind, entries in (("endpoints", found.endpoints), ("models", found.models)):
        for name, values in entries.items():
            parse_document(values, Price, where=f"{path}: {kind}.{name}")
    priced = {}
    for endpoint_id, endpoint in endpoints.items():
        values = {} if endpoint.wire == "recorded" else found.models.get(endpoint.model, {})
        values = values | found.endpoints.get(endpoint_id, {})
        priced[endpoint_id] = _priced(endpoint, values, path) if values else endpoint
    return priced


def unused(endpoints: dict[str, Endpoint], results: Path | None) -> list[str]:
    """One line for each name in the overrides file that no known endpoint or model has: a typo, or a server that is not up."""
    if (path := overrides_file(results)) is None:
        return []
    found, lines = read_document(path, Overrides), []
    models = {endpoint.model for endpoint in endpoints.values()}
    for kind, names, known in (("endpoints", found.endpoints, set(endpoints)), ("models", found.models, models)):
        absent = [name for name in names if name not in known]
        lines += [f"{path}: {kind}.{name}: nothing of this name now.{did_you_mean(name, sorted(known))}" for name in absent]
    return lines


def _priced(endpoint: Endpoint, values: dict[str, Any], path: Path) -> Endpoint:
    own = endpoint.price.model_dump(exclude_none=True) if endpoint.price else {}
    # Paid by the hour instead of by the token, or the other way round: what belongs to the other kind goes.
    gone = PER_TOKEN if "usd_per_hour" in values else PER_HOUR if PER_TOKEN & set(values) else frozenset()
    kept = {key: value for key, value in own.items() if key not in gone}
    if "discount" in values and "input_usd_per_mtok" in kept:
        rate = 1 - float(values["discount"])
        stated = {key: value * rate if key in PER_TOKEN else value for key, value in kept.items()}
        values = stated | {key: value for key, value in values.items() if key != "discount"}
        kept = {}
    price = parse_document(kept | values, Price, where=f"{path}: {endpoint.id}")
    return endpoint.model_copy(update={"price": price})
