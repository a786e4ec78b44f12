"""Saved networks: a folder with one safetensors file per module, and `model.json`, which builds them again."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load, save
from torch import Tensor, isfinite, nn

from s2igan.errors import InputError
from s2igan.files import whole_folder

REPRO = "run `dvc repro`, which takes it from DVC's cache or makes it again"
VERSION = 11  # of what a model's folder holds: another one where code that reads `config` or weights changes


def save_model(folder: str | Path, kind: str, modules: Mapping[str, nn.Module], config: dict) -> None:
    """Writes `modules` and `config` into `folder`; the folder appears whole, or not at all.

    `kind` tells models apart, `config` builds the network again.
    """
    with whole_folder(folder) as partial:
        for name, module in modules.items():
            state = {key: value.detach().cpu().contiguous() for key, value in module.state_dict().items()}
            _check_finite(state, f"{kind} model, {name}")
            (partial / f"{name}.safetensors").write_bytes(save(state))  # save_file hides the OSError of a full disk
        hashes = {name: hash_files(partial / f"{name}.safetensors") for name in modules}
        description = {"version": VERSION, "kind": kind, "modules": hashes, "config": config}
        description = json.loads(json.dumps(description))  # as it is read: its keys are texts
        description["hash"] = _hash(description)
        (partial / "model.json").write_text(json.dumps(description, indent=2, sort_keys=True) + "\n")


def _check_finite(state: Mapping[str, Tensor], where: str | Path) -> None:
    """Raises InputError for weights that would give NaN for everything, and an image that is black."""
    for key, value in state.items():
        if not isfinite(value).all():
            raise InputError(f"{where}: NaN or infinite weights in {key}; train it again, with a lower lr")


def load_model(folder: str | Path, kind: str) -> tuple[dict, dict[str, dict[str, Tensor]]]:
    """The `config` and the modules' states that `save_model` wrote.

    Raises InputError where the folder is missing, is of another commit whose models this code cannot read, holds
    another kind of model, a file is damaged, or a weight is NaN or infinite.
    """
    folder = Path(folder)
    description = folder / "model.json"
    if not description.is_file():
        raise InputError(f"{description}: missing; {REPRO}")
    try:
        content = json.loads(description.read_text())
        version, learnt = content["version"], content.pop("hash", "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{description}: not a model description; {REPRO}") from error
    if version != VERSION:
        raise InputError(f"{description}: written by another version of this code; run `dvc repro` to make it anew")
    if learnt != _hash(content):
        raise InputError(f"{description}: damaged, or changed since it was saved; {REPRO}")
    if content["kind"] != kind:
        raise InputError(f"{description}: holds a {content['kind']} model, expected {kind}; check the path")
    states = {}
    for name, expected in content["modules"].items():
        path = folder / f"{name}.safetensors"
        try:
            weights = path.read_bytes()
        except FileNotFoundError as error:
            raise InputError(f"{path}: missing; {REPRO}") from error
        if _digest(weights) != expected:
            raise InputError(f"{path}: damaged; {REPRO}")
        states[name] = load(weights)
        _check_finite(states[name], path)
    return content["config"], states


def _hash(description: Mapping) -> str:
    """Of a description, whatever the order of its keys."""
    return _digest(json.dumps(description, sort_keys=True).encode())


def _digest(content: bytes) -> str:
    """As `hash_files`."""
    return hashlib.sha256(content).hexdigest()[:16]


def load_state(module: nn.Module, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Fills `module` with `state`; InputError with the first names where the two differ."""
    expected = module.state_dict()
    wrong = [k for k in expected if k not in state or state[k].shape != expected[k].shape]
    wrong += [k for k in state if k not in expected]
    if wrong:
        raise InputError(
            f"{path}: {len(wrong)} tensors do not fit the network, the first is {wrong[0]}; "
            f"it was saved by another configuration: run `dvc repro`"
        )
    module.load_state_dict(state)


def hash_files(*paths: str | Path) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the files' contents, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()[:16]
