"""Images in: a file, an array or a PIL image becomes RGB pixels and tensors."""

import lazy_loader

# Imported when they are first used: forms look at images' headers, and need no torch for it.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "load": ["image_notes", "normalise", "read_image", "read_with_notes", "to_tensor"]
    },
)
