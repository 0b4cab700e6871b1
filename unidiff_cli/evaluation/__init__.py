"""Measuring models: metrics over what each model makes of the held-out split, and the report.

In: exports, their base, and the shards. Out: a typed `Report` with its page in `report/`.
A new metric is one file in `metrics/`; functions that several metrics share stand beside it.
"""
