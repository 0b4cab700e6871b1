"""Training: shards, a recipe and a base in, a run with its best averaged weights out.

`train.py` is the stage, `worker.py` what each process does, `trainer.py` the loop over one
`TrainingModule`. What a run measures is `validation.py`; another loss is a file in `objectives/`.
"""
