"""What is measured of a base, one file a question: its opened folders in, named figures out.

A new measure is a function that gives `Figures` and a line in pretraining/measure.py; its target,
if it has one, stands in targets.py.
"""
