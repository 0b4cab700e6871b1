"""Families of base models: one file each, registered by its name; it implements `BaseModel`.

In: a `Source`, which `models/sources.py` finds. Out: the base, in fp32 on the CPU. A new family is
a file here, the class of its name, named as the pipeline class it reads.
"""
