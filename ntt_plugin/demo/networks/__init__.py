"""The bundled tiny networks, each a folder in the hub's format."""

from pathlib import Path

FOLDER = Path(__file__).parent
"""Where ``segmenter`` and ``encoder`` lie."""
