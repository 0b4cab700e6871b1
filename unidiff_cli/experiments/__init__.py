"""Experiments: many training runs measured alike.

In: a project with shards, and recipes. Out: `folds/` (cross-validation) or `ablation/` (recipes ×
seeds × folds). An experiment runs the stages in projects of its own, inside the project's cache.
"""
