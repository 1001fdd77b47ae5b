"""No Time To Train for FiftyOne: instance segmentation from a few references, no training.

    import ntt_plugin as ntt

    ntt.sample_references(dataset, "ground_truth", shots=3)
    ntt.build_memory_bank(dataset, "ground_truth", "my_bank", tag="reference")
    ntt.segment(dataset, "my_bank", label_field="ntt")
    ntt.evaluate(dataset, "ntt", "ground_truth", eval_key="eval")

Names are imported when they are first used, so that importing this package costs nothing. The
engine can be used without FiftyOne: ``from ntt_plugin.engine import Segmenter``.
"""

import lazy_loader

__version__ = "0.1.0"

# The names and where they are from: __init__.pyi.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
