"""Retrieval: the nearest images of a catalogue to an image, a text or both.

In: an export's image encoders and the shards. Out: `index/`, and hits for a query.
A new kind of index is one class in one file of `indexes/`; `index.kind` in a recipe names it.
"""
