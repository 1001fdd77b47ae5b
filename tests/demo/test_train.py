from pathlib import Path

import numpy as np
import pytest
import torch

from ntt_plugin.demo.classes import BASE_CLASSES
from ntt_plugin.demo.streams import training_scene
from ntt_plugin.demo.train.encoder import EncoderTask
from ntt_plugin.demo.train.loop import Plan, ScenePool, train
from ntt_plugin.demo.train.segmenter import SegmenterTask
from ntt_plugin.engine import Segmenter
from ntt_plugin.engine.networks.bundled import FOLDER


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> ScenePool:
    return ScenePool(tmp_path_factory.mktemp("pool"), 6)


def test_the_pool_holds_the_training_scenes(pool: ScenePool) -> None:
    scene = training_scene(3)
    assert np.array_equal(pool.images[3], scene.image)
    assert np.array_equal(pool.owners[3], scene.owners)
    assert [BASE_CLASSES[index] for index in pool.classes[3]] == list(scene.classes)


def test_drawing_turns_image_and_masks_alike(pool: ScenePool) -> None:
    for image, owners, classes in pool.draw(np.random.default_rng(0), 8):
        matches = [
            index
            for index in range(len(pool))
            if pool.classes[index] == classes
            and np.array_equal(np.sort(pool.images[index], axis=None), np.sort(image, axis=None))
        ]
        assert matches
        plain = {pool.images[matches[0]][pool.owners[matches[0]] == 1].sum()}
        assert image[owners == 1].sum() in plain


@pytest.mark.parametrize("task", [SegmenterTask, EncoderTask])
def test_a_resumed_run_ends_where_an_unbroken_one_does(
    task: type[SegmenterTask] | type[EncoderTask], pool: ScenePool, tmp_path: Path
) -> None:
    plan = Plan(steps=4, scenes=2, rate=1e-3, save_every=2)

    def run(state: Path, stop_after: int | None) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        fresh = task()
        losses = 0

        def loss(*batch: object) -> torch.Tensor:
            nonlocal losses
            losses += 1
            if stop_after is not None and losses > stop_after:
                raise KeyboardInterrupt
            return fresh.loss(*batch)  # type: ignore[arg-type]

        try:
            train(fresh, loss, pool, plan, state, fresh.report)
        except KeyboardInterrupt:
            pass
        return fresh.state_dict()

    unbroken = run(tmp_path / "unbroken.pt", None)
    run(tmp_path / "broken.pt", 3)
    resumed = run(tmp_path / "broken.pt", None)
    for name, value in unbroken.items():
        torch.testing.assert_close(resumed[name], value, atol=1e-5, rtol=1e-4)


def test_both_places_hold_the_same_positional_matrix() -> None:
    network = SegmenterTask().network
    assert torch.equal(
        network.shared_image_embedding.positional_embedding,
        network.prompt_encoder.shared_embedding.positional_embedding,
    )


def test_a_fresh_segmenter_answers_each_point_differently() -> None:
    """What the careful start is for: a network that drowns the point learns to ignore it."""
    torch.manual_seed(0)
    task = SegmenterTask()
    features = task._features(torch.rand(1, 3, 256, 256))
    points = torch.tensor([[[[40.0, 40.0]], [[200.0, 60.0]], [[120.0, 220.0]]]])
    with torch.no_grad():
        logits, _ = task._decode(features, input_points=points, multimask=True)
    assert float(logits.std(dim=1).mean()) > 0.2 * float(logits.std())


def test_the_bundled_networks_are_small_and_in_half_precision() -> None:
    from safetensors import safe_open

    files = sorted(FOLDER.glob("*/model.safetensors"))
    assert [file.parent.name for file in files] == ["encoder", "segmenter"]
    assert sum(file.stat().st_size for file in files) <= 12_000_000
    for file in files:
        with safe_open(file, "pt") as opened:
            kinds = {opened.get_slice(name).get_dtype() for name in opened.keys()}
        assert kinds == {"F16"}


def test_the_bundled_networks_have_the_configurations_that_are_trained() -> None:
    segmenter = Segmenter.from_preset("tiny", device="cpu")
    trained = {name: value.shape for name, value in SegmenterTask().network.state_dict().items()}
    bundled = segmenter._proposer._model.state_dict()
    assert {name: value.shape for name, value in bundled.items()} == trained
