"""Pretrained models, and what they make of a batch.

In: a base by name (`loading`), a `Batch`. Out: a `BaseModel`, whose contract is `base.py`, and
`ForwardPass`, each output of a step computed once. A family is one file in `families/`.
"""
