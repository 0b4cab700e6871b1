"""The project directory: its folders, receipts, run logs and checkpoints, without torch.

In comes what a stage has made; out comes one folder, written whole and closed by a receipt. A new
folder is one line in `folders.FOLDERS`: status, git and the readers of catalogues take it from
there.
"""
