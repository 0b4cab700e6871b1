"""From a catalogue to the batches of a training run.

In comes a catalogue (a `Location` that a reader understands). `prepare` writes it as shards, and
`Samples` reads them as one `Batch` a step. To add a way of keeping a catalogue, write one file in
`readers/`; another place is a `Location`, as in `locations.py` and `remote.py`, another way to
spread the work a class in `executors.py`; both must pass `tests/data/test_contracts.py`.
"""
