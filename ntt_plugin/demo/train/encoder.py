"""Trains the tiny DINOv2: mean features under a mask must tell classes apart."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Dinov2Model

from ...engine.images.load import normalise
from ...engine.recipe import Recipe
from ...engine.references import crop_box, crop_reference
from ..classes import BASE_CLASSES, COLOURS, PATTERNS, SHAPES
from .loop import Scenes, image_batch
from .networks import encoder_config, see_like_a_convolution, start_afresh

_ATTRIBUTES = (SHAPES, PATTERNS, COLOURS)
_CLASS_ATTRIBUTES = torch.tensor(
    [
        [SHAPES.index(entry.shape), PATTERNS.index(entry.pattern), COLOURS.index(entry.colour)]
        for entry in BASE_CLASSES
    ]
)
_BACKGROUND = len(BASE_CLASSES)
_SHARPNESS = 14.0
_CROPS_A_BATCH = 2
# Most patches show background, which is soon told from objects.
_BACKDROP_EMPHASIS = 0.2
_CONTEXT_RATIO = Recipe.from_preset("tiny").context_ratio


class EncoderTask(nn.Module):
    """The network, the heads that only training needs, and the loss.

    Objects are seen twice, as the engine sees them: small in a whole scene, and alone in a
    reference's crop. Each patch must tell the attributes of what it shows (background is a
    value of its own), and the mean feature under a mask must lie nearest its class's proxy: the
    sum of a vector for its shape, one for its pattern and one for its colour, so that a
    combination never seen has a place of its own too.
    """

    def __init__(self) -> None:
        """Make network and heads with fresh weights."""
        super().__init__()
        config = encoder_config()
        self.network = Dinov2Model(config)
        start_afresh(self.network)
        self.side = config.image_size
        self.grid = config.image_size // config.patch_size
        width = config.hidden_size
        see_like_a_convolution(self.network)
        self.dense = nn.ModuleList(nn.Linear(width, len(values) + 1) for values in _ATTRIBUTES)
        self.parts = nn.ParameterList(
            nn.Parameter(torch.randn(len(values), width)) for values in _ATTRIBUTES
        )
        self.backdrop = nn.Parameter(torch.randn(1, width))
        self._hits: list[list[float]] = []

    def report(self) -> str:
        """Shares of pooled features nearest the right class, and the right attributes."""
        shares = np.nanmean(self._hits, axis=0)
        self._hits.clear()
        names = ("scenes", "crops", "shape", "pattern", "colour")
        return "right " + ", ".join(f"{n} {s:.3f}" for n, s in zip(names, shares, strict=True))

    def loss(self, scenes: Scenes, rng: np.random.Generator) -> Tensor:
        """The loss of a batch of scenes, a scalar."""
        views, owners, classes = self._views(scenes, rng)
        device = self.network.device
        tokens = self.network(normalise(views.to(device))).last_hidden_state[:, 1:]
        weights = [weight.to(device) for weight in self._weights(owners)]
        labels = [torch.tensor([_BACKGROUND, *entry], device=device) for entry in classes]
        pooled, pooled_labels, pooled_views = [], [], []
        dense = tokens.new_zeros(())
        for view, (token, weight, label) in enumerate(zip(tokens, weights, labels, strict=True)):
            weight = weight[: len(label)]
            dense = dense + self._dense_loss(token, weight, label)
            seen = weight.sum(1) > 0.3
            pooled.append((weight[seen] @ token) / weight[seen].sum(1, keepdim=True))
            pooled_labels.append(label[seen])
            pooled_views.append(torch.full((int(seen.sum()),), view))
        features, truth = torch.cat(pooled), torch.cat(pooled_labels)
        similarity = functional.normalize(features, dim=1) @ self._proxies().T
        self._count(similarity.cpu(), truth.cpu(), torch.cat(pooled_views), len(scenes))
        margin = 0.1 * functional.one_hot(truth, similarity.shape[1])
        matching = functional.cross_entropy(_SHARPNESS * (similarity - margin), truth)
        return matching + dense / len(views)

    def _proxies(self) -> Tensor:
        parts = [functional.normalize(part, dim=1) for part in self.parts]
        chosen = [part[_CLASS_ATTRIBUTES[:, index]] for index, part in enumerate(parts)]
        whole = torch.stack(chosen).sum(0)
        return functional.normalize(torch.cat([whole, self.backdrop]), dim=1)

    def _dense_loss(self, token: Tensor, weight: Tensor, label: Tensor) -> Tensor:
        loss = token.new_zeros(())
        share = weight / weight.sum(0, keepdim=True).clamp(min=1e-6)
        for index, head in enumerate(self.dense):
            values = len(_ATTRIBUTES[index])
            value = torch.full_like(label, values)
            objects = label != _BACKGROUND
            value[objects] = _CLASS_ATTRIBUTES.to(label.device)[label[objects], index]
            target = share.T @ functional.one_hot(value, values + 1).float()
            each = functional.cross_entropy(head(token), target, reduction="none")
            emphasis = _BACKDROP_EMPHASIS + 1 - target[:, -1]
            loss = loss + (each * emphasis).sum() / emphasis.sum()
        return loss

    def _views(
        self, scenes: Scenes, rng: np.random.Generator
    ) -> tuple[Tensor, list[np.ndarray], list[list[int]]]:
        whole = image_batch([image for image, _, _ in scenes])
        size = (self.side, self.side)
        views = [functional.interpolate(whole, size, mode="bicubic")]
        owners = [np.ascontiguousarray(owner) for _, owner, _ in scenes]
        classes = [entry for _, _, entry in scenes]
        for index in rng.permutation(len(scenes))[:_CROPS_A_BATCH]:
            _, owner, entry = scenes[index]
            mask = owner == rng.integers(len(entry)) + 1
            rows, columns = np.nonzero(mask)
            box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            view, _ = crop_reference(
                whole[index], torch.from_numpy(mask), box, self.side, _CONTEXT_RATIO
            )
            views.append(view[None])
            x1, y1, x2, y2 = crop_box(box, mask.shape, _CONTEXT_RATIO)
            owners.append(np.ascontiguousarray(owner[y1:y2, x1:x2]))
            classes.append(entry)
        return torch.cat(views), owners, classes

    def _weights(self, owners: list[np.ndarray]) -> list[Tensor]:
        """Share of each patch covered by background and each object: float (1 + objects, g*g)."""
        weights = []
        for owner in owners:
            count = int(owner.max()) + 1
            planes = functional.one_hot(torch.tensor(owner, dtype=torch.long), max(count, 9))
            planes = planes.permute(2, 0, 1).float()[None]
            cells = functional.interpolate(
                planes, (self.grid, self.grid), mode="bilinear", antialias=True
            )
            weights.append(cells[0].flatten(1))
        return weights

    def _count(self, similarity: Tensor, truth: Tensor, views: Tensor, scenes: int) -> None:
        objects = truth != _BACKGROUND
        guess, truth, whole = similarity.argmax(1)[objects], truth[objects], views[objects] < scenes
        right = (guess == truth).float()
        known = guess != _BACKGROUND
        alike = _CLASS_ATTRIBUTES[guess[known]] == _CLASS_ATTRIBUTES[truth[known]]
        attributes = (alike.sum(0) / len(guess)).tolist()
        self._hits.append([float(right[whole].mean()), float(right[~whole].mean()), *attributes])
