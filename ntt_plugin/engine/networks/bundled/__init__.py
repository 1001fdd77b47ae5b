"""The bundled tiny networks, each a folder in the hub's format.

Trained by ``ntt_plugin.demo.train``: the segmenter for 6,000 steps, the encoder for 5,200, of which
the first 1,250 saw four crops a step, cut narrower (context ratio 0.2) than the script cuts them.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
"""Where ``segmenter`` and ``encoder`` lie."""
