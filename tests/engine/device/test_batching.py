from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ntt_plugin.engine import Recipe, Segmenter
from ntt_plugin.engine.bank.memory_bank import MemoryBank
from ntt_plugin.engine.device.batching import PromptBatches, is_out_of_memory
from ntt_plugin.engine.networks.encoder import PatchEncoder
from ntt_plugin.engine.networks.mask_proposer import MaskProposer
from ntt_plugin.errors import NttError, OutOfMemoryError

CPU = torch.device("cpu")
SHORTAGES = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory:"
        " you tried to allocate 8 bytes. Error code 12 (Cannot allocate memory)"
    ),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
    RuntimeError("MPS backend out of memory (MPS allocated: 17.9 GB, max allowed: 18.1 GB)."),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    MemoryError("Unable to allocate 8.00 TiB for an array"),
]


def room_for(most: int, shortage: Exception, seen: list[int]):
    """Work on a batch of prompts that fails where there are more of them than ``most``."""

    def work(prompts: Tensor) -> Tensor:
        seen.append(len(prompts))
        if len(prompts) > most:
            raise shortage
        return prompts * 2

    return work


@pytest.mark.parametrize("shortage", SHORTAGES)
def test_the_batch_is_halved_and_nothing_is_done_twice(shortage: Exception) -> None:
    prompts, seen = torch.arange(40.0)[:, None], []
    batches = PromptBatches(CPU)
    results = batches.run(room_for(5, shortage, seen), prompts, 16)
    assert torch.equal(torch.cat(results), prompts * 2)
    assert seen == [16, 8] + [4] * 10
    assert batches.limit == 4


def test_the_smaller_batch_is_remembered() -> None:
    batches, seen = PromptBatches(CPU), []
    work = room_for(5, SHORTAGES[0], seen)
    batches.run(work, torch.zeros(16, 1), 16)
    seen.clear()
    batches.run(work, torch.zeros(16, 1), 16)
    assert seen == [4] * 4
    assert (batches.size(16), batches.size(3)) == (4, 3)


def test_a_short_last_batch_that_fails_is_halved_itself() -> None:
    batches, seen = PromptBatches(CPU), []
    batches.run(room_for(2, SHORTAGES[0], seen), torch.zeros(3, 1), 100)
    assert seen == [3, 1, 1, 1]


def test_one_prompt_too_many_is_our_own_error_with_a_remedy() -> None:
    with pytest.raises(OutOfMemoryError, match=r"single prompt on the device 'cpu'.*preset") as e:
        PromptBatches(CPU).run(room_for(0, SHORTAGES[1], []), torch.zeros(9, 1), 4)
    assert isinstance(e.value, NttError)
    assert e.value.__cause__ is SHORTAGES[1]


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), ValueError("memory")])
def test_other_errors_pass_unchanged(error: Exception) -> None:
    assert not is_out_of_memory(error)
    with pytest.raises(type(error), match=str(error)):
        PromptBatches(CPU).run(room_for(0, error, []), torch.zeros(9, 1), 4)


def test_what_torch_itself_says_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


@pytest.fixture
def segmenter(sam2_folder: Path, dinov2_folder: Path) -> Segmenter:
    recipe = Recipe(
        segmenter=str(sam2_folder),
        encoder=str(dinov2_folder),
        encoder_size=42,
        grid=4,
        iou_threshold=0.0,
    )
    return Segmenter.from_preset(recipe, device="cpu")


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (50, 80, 3), dtype=np.uint8)


def starve(monkeypatch: pytest.MonkeyPatch, decoder: object, name: str, most: int) -> None:
    """Make a decoder run out of memory where there are more than ``most`` prompts."""
    decode = getattr(decoder, name)

    def hungry(image: object, prompts: Tensor, *rest: object) -> object:
        if len(prompts) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return decode(image, prompts, *rest)

    monkeypatch.setattr(decoder, name, hungry)


def test_proposing_goes_on_with_fewer_points(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = segmenter.propose(picture())
    assert segmenter.point_batch == 64
    starve(monkeypatch, segmenter._proposer._decoder, "attend_points", 5)
    found = segmenter.propose(picture())
    assert segmenter.point_batch == 4
    torch.testing.assert_close(found.masks.logits, expected.masks.logits, atol=1e-4, rtol=0)


def test_boxes_go_on_with_fewer_at_once(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = [[0, 0, 5 + i, 9 + i] for i in range(6)]
    expected = segmenter.masks_from_boxes(picture(), boxes)
    starve(monkeypatch, segmenter._proposer._decoder, "attend_boxes", 2)
    found = segmenter.masks_from_boxes(picture(), boxes)
    assert segmenter.point_batch == 1
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("part", ["encoder", "segmenter"])
def test_a_network_too_large_for_the_memory_is_our_own_error(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def hungry(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    network = {
        "encoder": segmenter._encoder._model,
        "segmenter": segmenter._proposer._model.vision_encoder,
    }[part]
    monkeypatch.setattr(network, "forward", hungry)
    with pytest.raises(OutOfMemoryError, match=rf"run the (patch )?{part} on an image"):
        segmenter.propose(picture())


@pytest.mark.parametrize(
    ("step", "where"),
    [
        ("read_image", "ntt_plugin.engine.segmenter.read_image"),
        ("propose", "ntt_plugin.engine.proposals.proposals.pool_features"),
        ("match", "ntt_plugin.engine.matching.match.suppress"),
    ],
)
def test_memory_that_runs_out_around_the_networks_is_our_own_error(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch, step: str, where: str
) -> None:
    bank = MemoryBank(segmenter.fingerprint)
    bank.add("thing", torch.ones(segmenter.fingerprint.channels))

    def hungry(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(where, hungry)
    with pytest.raises(OutOfMemoryError, match="smaller copy of the image"):
        segmenter.segment(picture(), bank)


@pytest.mark.parametrize("part", [PatchEncoder, MaskProposer])
def test_a_network_that_finds_no_room_on_its_device_is_our_own_error(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch, part: type
) -> None:
    def hungry(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.nn.Module, "to", hungry)
    with pytest.raises(OutOfMemoryError, match=r"load the (encoder|segmenter) on the"):
        if part is PatchEncoder:
            PatchEncoder(segmenter._encoder._model, segmenter.fingerprint, CPU)
        else:
            MaskProposer(segmenter._proposer._model, CPU)
