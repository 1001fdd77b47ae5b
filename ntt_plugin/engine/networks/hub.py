"""Hub ids: find local copies of a network's files, or download them."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from huggingface_hub import HfApi, constants, try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError
from huggingface_hub.file_download import repo_folder_name

from ...errors import CheckpointError
from .weights import CONFIG_FILE, INDEX_FILE, WEIGHTS_FILE, is_complete_folder, shard_names

SEGMENTERS: dict[str, str] = {
    f"facebook/{version}-hiera-{size}": f"{version}_hiera_{size.replace('-', '_')}"
    for version in ("sam2", "sam2.1")
    for size in ("tiny", "small", "base-plus", "large")
}
"""Hub id -> the stem of Meta's own file."""

ENCODERS: dict[str, str] = {
    f"facebook/dinov2-{infix}{size}": f"dinov2_vit{size[0]}14_{suffix}pretrain"
    for infix, suffix in (("", ""), ("with-registers-", "reg4_"))
    for size in ("small", "base", "large", "giant")
}
"""Hub id -> the stem of Meta's own file."""


def find_cached(hub_id: str) -> Path | None:
    """Folder of a hub id in the local hub cache; None if it is missing or incomplete."""
    try:
        found = try_to_load_from_cache(hub_id, CONFIG_FILE)
    except HFValidationError:
        return None
    if not isinstance(found, str):
        return None
    folder = Path(found).parent
    try:
        return folder if is_complete_folder(folder) else None
    except CheckpointError:
        # Its index is damaged: a download writes it again.
        return None


def find_in_zoo(hub_id: str, zoo_dirs: Sequence[Path] = ()) -> Path | None:
    """Meta's own file of a hub id where FiftyOne's model zoo keeps it, or None.

    ``hub_id`` is a published one: others are in no zoo. ``zoo_dirs``, such as FiftyOne's
    ``model_zoo_dir``, are looked into first.
    """
    names = _names_of_metas_file(hub_id)
    files = (folder / name for folder in _zoo_folders(zoo_dirs) for name in names)
    return next((file for file in files if file.is_file()), None)


def download(hub_id: str) -> Path:
    """Download a model into the hub cache, with its size and progress; gives its folder.

    Raises:
        CheckpointError: the hub cannot be reached or may not be asked, or the id is unknown, gated
            or without safetensors.
    """
    if constants.HF_HUB_OFFLINE:
        raise CheckpointError(
            f"{hub_id} is not on this machine, and HF_HUB_OFFLINE forbids to download it."
            f" {_without_network(hub_id)}"
        )
    hub = HfApi()
    try:
        names, size = _listing(hub, hub_id)
        folder = Path(hub.hf_hub_download(hub_id, CONFIG_FILE)).parent
        print(
            f"Downloading {hub_id} ({size / 1e6:,.0f} MB) to {folder}", file=sys.stderr, flush=True
        )
        for name in names:
            hub.hf_hub_download(hub_id, name)
        if INDEX_FILE in names:
            for name in shard_names(folder):
                hub.hf_hub_download(hub_id, name)
    except CheckpointError:
        raise
    except GatedRepoError as error:
        raise CheckpointError(
            f"{hub_id} is gated: accept its terms on https://huggingface.co/{hub_id} and run"
            " `hf auth login`."
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise CheckpointError(
            f"The hub has no model {hub_id!r}.{suggestion(hub_id)} A private one needs"
            " `hf auth login`."
        ) from error
    # The hub's client lets its transport's and its storage's own errors through.
    except Exception as error:
        raise CheckpointError(
            f"{hub_id} is not on this machine and could not be downloaded"
            f" ({_reason(error)}). {_without_network(hub_id)}"
        ) from error
    return folder


def download_state(hub_id: str) -> object:
    """What changes while any process downloads a hub id: sizes and dates of files in the cache."""
    try:
        folder = repo_folder_name(repo_id=hub_id, repo_type="model")
        found = [
            file.stat() for file in (Path(constants.HF_HUB_CACHE) / folder / "blobs").iterdir()
        ]
    # A finished file has just got its name; there is no such folder, or no such name.
    except (OSError, ValueError):
        return None
    return sorted((one.st_size, one.st_mtime_ns) for one in found)


def suggestion(name: str) -> str:
    """A sentence with the published ids nearest to a name; nothing where none is near."""
    near = difflib.get_close_matches(name, [*SEGMENTERS, *ENCODERS], n=2, cutoff=0.6)
    return f" Did you mean {' or '.join(near)}?" if near else ""


def _listing(hub: HfApi, hub_id: str) -> tuple[list[str], int]:
    """The weight files to fetch first, and the bytes of all weights."""
    siblings = hub.model_info(hub_id, files_metadata=True).siblings or []
    sizes = {file.rfilename: file.size or 0 for file in siblings}
    if CONFIG_FILE in sizes and WEIGHTS_FILE in sizes:
        return [WEIGHTS_FILE], sizes[WEIGHTS_FILE]
    if CONFIG_FILE in sizes and INDEX_FILE in sizes:
        shards = [n for n in sizes if n.startswith("model-") and n.endswith(".safetensors")]
        return [INDEX_FILE], sum(sizes[name] for name in shards)
    raise CheckpointError(
        f"{hub_id} has no {CONFIG_FILE} with {WEIGHTS_FILE}, the form that is read from the hub."
        f"{suggestion(hub_id)}"
    )


def _names_of_metas_file(hub_id: str) -> list[str]:
    """Names of Meta's own file of a published id, Meta's last; FiftyOne's zoo adds to SAM 2's."""
    if stem := SEGMENTERS.get(hub_id):
        return [f"{stem}_image.pt", f"{stem}_video.pt", f"{stem}.pt"]
    return [f"{ENCODERS[hub_id]}.pth"] if hub_id in ENCODERS else []


def _zoo_folders(zoo_dirs: Sequence[Path]) -> Iterator[Path]:
    yield from (Path(folder) for folder in zoo_dirs)
    # Where FiftyOne's zoo is if no setting of its own says otherwise; a container's user may have
    # no home.
    with suppress(RuntimeError):
        yield Path.home() / "fiftyone" / "__models__"
    yield Path(torch.hub.get_dir()) / "checkpoints"


def _without_network(hub_id: str) -> str:
    field = "encoder" if hub_id in ENCODERS else "segmenter"
    own = "".join(f" or Meta's {name}" for name in _names_of_metas_file(hub_id)[-1:])
    return (
        f"On a machine with network run `hf download {hub_id}` and copy the folder{own} here, then"
        f' give its path in place of the id: {field}="/its/path" in Recipe.from_preset(). The '
        "preset 'tiny' needs no download."
    )


def _reason(error: BaseException) -> str:
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0][:200]
