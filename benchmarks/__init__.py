"""What the project claims, measured side by side with peers and limits; not installed.

A command a subject (`adaptation`, `encodings`, `evaluate`, `train`), each writing its figures and
the sheets to check them by. A new part is a dataclass of its sizes with `measure`, in parts/, and
a line in a command.
"""
