"""A base that is an adapter, as alignment-handbook/zephyr-7b-sft-qlora is: merged into its own base before anything is trained on it.

    base = whole_weights("alignment-handbook/zephyr-7b-sft-qlora", results)      # results/bases/zephyr-7b-sft-qlora-0f3a…

What stands on the hub or in a folder is left as it is; the merged weights are kept, and used again by the next training from them.
"""

import fcntl
import json
import logging
from pathlib import Path

from trainers.errors import TrainersError
from trainers.record import weights_hash

log = logging.getLogger("trainers")


def whole_weights(base: str, results: Path, *, revision: str = "main") -> str:
    """`base` itself unless it is an adapter, else the folder of its merged weights. Raises AdapterInactive, TrainersError."""
    from trainers.merge import merge

    folder = _adapter_folder(base, revision)
    if folder is None:
        return base
    stated = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    under = stated.get("base_model_name_or_path")
    if not under:
        raise TrainersError(f"model_name_or_path: {base}: its adapter_config.json names no base; name whole weights instead")
    out = results / "bases" / f"{Path(base).name}-{str(weights_hash(folder))[:12]}"
    out.parent.mkdir(parents=True, exist_ok=True)
    # Two trainings from one adapter: the second waits, and finds it merged. The lock goes with the process.
    with out.with_name(f".{out.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (out / "config.json").is_file():
            log.info("%s is an adapter: merging it into %s first", base, under)
            merge(under, folder, out, revision=stated.get("revision") or "main")
    return str(out)


def _adapter_folder(base: str, revision: str) -> Path | None:
    """Where the adapter's files lie, on this machine; None for whole weights."""
    if Path(base).is_dir():
        return Path(base) if (Path(base) / "adapter_config.json").is_file() else None
    from huggingface_hub import snapshot_download
    from transformers.utils.peft_utils import find_adapter_config_file

    try:
        if find_adapter_config_file(base, revision=revision) is None:
            return None
        patterns = ["adapter_*", "*token*", "*.jinja", "vocab*", "merges.txt"]
        return Path(snapshot_download(base, revision=revision, allow_patterns=patterns))
    except (OSError, ValueError):
        # No such model, or no way to it: whoever loads it next tells.
        return None
