"""How the embedded model `nano` and its scorer are made and measured; not installed.

In: photos, Fashion-MNIST and the renderer. Out: the folders nano/ and nano_scorer/ with their
cards. Run from the repository root: `python -m pretraining.nano`, `python -m pretraining.measure`.
"""
