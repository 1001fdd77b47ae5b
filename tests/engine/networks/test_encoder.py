import pytest
import torch
from transformers import (
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
)

from ntt_plugin.engine.bank.memory_bank import Fingerprint
from ntt_plugin.engine.networks.encoder import PatchEncoder
from ntt_plugin.errors import RecipeError

CPU = torch.device("cpu")
SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 14}


def fingerprint(size: int = 42) -> Fingerprint:
    return Fingerprint("small", "0" * 16, size, 32)


@pytest.fixture(params=["plain", "registers"])
def model(request: pytest.FixtureRequest) -> torch.nn.Module:
    torch.manual_seed(0)
    if request.param == "plain":
        return Dinov2Model(Dinov2Config(**SHAPE, image_size=42))
    config = Dinov2WithRegistersConfig(**SHAPE, image_size=42, num_register_tokens=4)
    return Dinov2WithRegistersModel(config)


def test_features_are_the_last_nine_tokens_laid_out_row_by_row(model: torch.nn.Module) -> None:
    images = torch.rand(2, 3, 42, 42)
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    with torch.no_grad():
        tokens = model.eval()(pixel_values=(images - mean) / std).last_hidden_state[:, -9:]
    features = PatchEncoder(model, fingerprint(), CPU).encode(images)
    assert features.shape == (2, 32, 3, 3)
    for row in range(3):
        for column in range(3):
            expected = tokens[:, 3 * row + column]
            torch.testing.assert_close(features[:, :, row, column], expected, atol=1e-5, rtol=0)


def test_another_input_size_gives_another_grid(model: torch.nn.Module) -> None:
    encoder = PatchEncoder(model, fingerprint(70), CPU)
    assert encoder.grid == 5
    assert encoder.encode(torch.rand(1, 3, 70, 70)).shape == (1, 32, 5, 5)


def test_a_size_that_is_no_multiple_of_the_patch_is_refused(model: torch.nn.Module) -> None:
    with pytest.raises(RecipeError, match=r"encoder_size is 50.*patches of 14"):
        PatchEncoder(model, fingerprint(50), CPU)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_comes_out_as_float32_and_near(
    model: torch.nn.Module, dtype: torch.dtype
) -> None:
    images = torch.rand(1, 3, 42, 42)
    exact = PatchEncoder(model, fingerprint(), CPU).encode(images)
    rough = PatchEncoder(model, fingerprint(), CPU, dtype).encode(images)
    assert rough.dtype == torch.float32
    similarity = torch.nn.functional.cosine_similarity(exact, rough, dim=1)
    assert float(similarity.min()) > 0.999
    assert not torch.equal(exact, rough)
