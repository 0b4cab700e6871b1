"""Images from prompts, by an export.

In: an export, prompts and seeds. Out: `outputs/`, images that hold all that they depend on.
The sampler itself is `models/sampler.py`: previews and evaluation use it too.
"""
