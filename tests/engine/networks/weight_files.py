"""Weight files made and changed by the tests of checkpoints."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file


def save(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


def rewrite(folder: Path, change: Any) -> None:
    """Change the tensors of a folder's weight file in place."""
    state = load_file(folder / "model.safetensors")
    state = {name: tensor.clone() for name, tensor in state.items()}
    change(state)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def configure(folder: Path, **values: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))
