"""Images in: a file, an array or a PIL image becomes RGB pixels and tensors."""

import lazy_loader

# For scripts. Imported when they are first used: forms look at images' headers without torch.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"load": ["image_notes", "read_image"]}
)
