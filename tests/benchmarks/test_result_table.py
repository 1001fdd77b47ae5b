"""Our figures beside the published ones."""

import pytest

from benchmarks.published import cdfsod, coco, voc
from benchmarks.published.published_figures import FIGURES, METHODS
from benchmarks.published.reproduce import TABLES
from benchmarks.published.result_table import render, rows_with_mean


def test_a_row_holds_ours_and_what_is_published():
    text = render(coco.TABLE, 30, {"bbox AP": 0.3512, "segm AP": 0.3, "segm AP50": -1.0})
    assert "| bbox AP | 35.1 | 36.8 | 45.8 | not given here |" in text
    assert "| segm AP | 30.0 | 34.2 | not given here | not given here |" in text
    assert "| segm AP50 | not defined | not given here |" in text


def test_published_figures_of_other_shots_are_not_shown():
    text = render(coco.TABLE, 10, {"bbox AP": 0.3})
    assert "| bbox AP | 30.0 | 36.6 | 44.0 | not given here |" in text


def test_sources_stand_below_the_table():
    assert "NTTT, bbox AP 36.8: arXiv 2507.02798" in render(coco.TABLE, 30, {"bbox AP": 0.3})
    assert "71.2 nAP50 in the abstract" in render(voc.TABLE, 1, {"split1 nAP50": 0.7})


def test_the_mean_needs_every_part():
    two = {"ArTaxOr AP": 0.2, "UODD AP": 0.4}
    assert rows_with_mean(cdfsod.TABLE, two) == two
    assert "| mean AP | not run | 22.4 |" in render(cdfsod.TABLE, 5, two)
    all_parts = {f"{part} AP": 0.1 * key for key, part in enumerate(cdfsod.DATASETS, start=1)}
    assert rows_with_mean(cdfsod.TABLE, all_parts)["mean AP"] == pytest.approx(0.35)


def test_every_published_figure_has_a_source_and_belongs_to_a_table():
    for figure in FIGURES:
        assert figure.method in METHODS
        assert figure.shots in TABLES[figure.table].shots
        assert "arXiv" in figure.source or "README of" in figure.source
