"""Our DINOv2 against a plain ViT written here from the papers, through the Meta-file loader.

The network is that of "DINOv2" (arXiv 2304.07193) with the registers of "Vision Transformers Need
Registers" (arXiv 2309.16588); its parameters have the names of Meta's files, and it runs in double
precision.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ntt_plugin.engine.networks import convert_dinov2
from ntt_plugin.engine.networks.checkpoints import load_encoder

Close = Callable[..., None]

PATCH, GRID = 14, 5
# Width, depth, heads, gated MLP; the giant's MLP is gated (SwiGLU), two thirds as wide.
PUBLISHED = {
    "small": (384, 12, 6, False),
    "base": (768, 12, 12, False),
    "large": (1024, 24, 16, False),
    "giant": (1536, 40, 24, True),
}


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, t, c = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        weights = (q @ k.mT / (c // self.heads) ** 0.5).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(n, t, c))


class Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(x)))


class GatedMlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = (width * 8 // 3 + 7) // 8 * 8
        self.w12 = nn.Linear(width, 2 * hidden)
        self.w3 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.w12(x).chunk(2, dim=-1)
        return self.w3(gate * gate.sigmoid() * value)


class LayerScale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(width))


class Block(nn.Module):
    def __init__(self, width: int, heads: int, gated: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.ls1 = LayerScale(width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = GatedMlp(width) if gated else Mlp(width)
        self.ls2 = LayerScale(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1.gamma * self.attn(self.norm1(x))
        return x + self.ls2.gamma * self.mlp(self.norm2(x))


class PlainDinov2(nn.Module):
    def __init__(
        self, width: int, depth: int, heads: int, gated: bool, registers: int, grid: int = GRID
    ) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + grid * grid, width))
        self.mask_token = nn.Parameter(torch.empty(1, width))
        if registers:
            self.register_tokens = nn.Parameter(torch.empty(1, registers, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, PATCH, PATCH)})
        self.blocks = nn.ModuleList(Block(width, heads, gated) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.registers = registers

    def forward(self, pixels: Tensor) -> Tensor:
        """Patch tokens after the final norm, (n, patches, width)."""
        n = len(pixels)
        patches = self.patch_embed["proj"](pixels).flatten(2).mT
        x = torch.cat([self.cls_token.expand(n, -1, -1), patches], dim=1) + self.pos_embed
        if self.registers:
            tokens = self.register_tokens.expand(n, -1, -1)
            x = torch.cat([x[:, :1], tokens, x[:, 1:]], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 1 + self.registers :]


def random_network(gated: bool, registers: int) -> PlainDinov2:
    torch.manual_seed(3)
    network = PlainDinov2(48, 3, 4, gated, registers).eval()
    with torch.no_grad():
        for name, weight in network.named_parameters():
            spread = 1.5 / weight[0].numel() ** 0.5 if weight.ndim > 1 else 0.4
            shift = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            weight.copy_(shift + spread * torch.randn_like(weight))
    return network


@pytest.mark.parametrize("registers", [0, 4])
@pytest.mark.parametrize("gated", [False, True], ids=["mlp", "swiglu"])
def test_patch_tokens_equal_the_plain_vit(
    gated: bool, registers: int, tmp_path: Path, close: Close
) -> None:
    plain = random_network(gated, registers)
    torch.save(plain.state_dict(), tmp_path / "dino.pth")
    ours = load_encoder(tmp_path / "dino.pth", heads=4).model
    pixels = torch.randn(2, 3, GRID * PATCH, GRID * PATCH)
    with torch.inference_mode():
        tokens = ours(pixel_values=pixels).last_hidden_state[:, 1 + registers :]
        expected = plain.double()(pixels.double())
    assert tokens.shape == (2, GRID * GRID, 48)
    assert expected.std() > 0.5
    close("DINOv2 patch tokens", tokens, expected)


@pytest.mark.parametrize("registers", [0, 4])
@pytest.mark.parametrize("size", PUBLISHED)
def test_every_published_size_is_recognised(size: str, registers: int) -> None:
    width, depth, heads, gated = PUBLISHED[size]
    with torch.device("meta"):
        plain = PlainDinov2(width, depth, heads, gated, registers, grid=37)
    config = convert_dinov2.infer_config(convert_dinov2.from_meta(plain.state_dict(), size), size)
    assert (config.hidden_size, config.num_hidden_layers) == (width, depth)
    assert (config.num_attention_heads, config.use_swiglu_ffn) == (heads, gated)
    assert (config.image_size, config.patch_size, config.mlp_ratio) == (518, 14, 4)
    assert getattr(config, "num_register_tokens", 0) == registers
