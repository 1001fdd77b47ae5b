from __future__ import annotations

import numpy as np
import pytest

from ntt_plugin.engine.masks.packed import set_bits, set_bits_of_rows

WORDS = np.random.default_rng(0).integers(0, 2**64, (7, 9), dtype=np.uint64)[:, 2:5]


@pytest.mark.parametrize("instruction", [True, False])
def test_bits_are_counted_with_and_without_numpys_instruction(
    instruction: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not instruction:
        monkeypatch.delattr(np, "bitwise_count", raising=False)
    expected = [sum(int(word).bit_count() for word in row) for row in WORDS]
    assert set_bits(WORDS) == sum(expected)
    assert set_bits_of_rows(WORDS).tolist() == expected
    assert set_bits_of_rows(WORDS[:0]).tolist() == []
