"""Evaluation: base and tuned models, measured on held-out images.

In: shards, and the exports of a project. Out: `report/` or `comparison/`, written from a typed
`Report`. To add a metric, write a file in `metrics/`; its docstring says how.
"""
