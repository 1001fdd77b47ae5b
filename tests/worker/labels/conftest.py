"""The dataset of coloured blocks, for what is compared with FiftyOne."""

from tests.dataset.conftest import dataset as dataset
