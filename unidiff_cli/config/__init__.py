"""Configuration: a recipe from all its sources, checked whole, without torch.

In come a recipe file, the project's `unidiff.yaml`, the environment and `--set`; out comes a
`Recipe`, or every problem with file and line. A key is a field of a section in `schema.py`; a
renamed key gets a line in `migration.py`; a shipped recipe is a file in `recipes/`.
"""
