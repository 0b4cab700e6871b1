"""Many trainings, one table: cross-validation and ablations, built from the stages.

In: recipes, seeds and folds. Out: cells that can be resumed, and their summary with paired tests.
"""
