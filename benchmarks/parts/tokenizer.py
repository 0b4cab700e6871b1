"""A tokenizer of CLIP's kind that knows bytes, and hardly a word: for bases of random weights."""

import json
from pathlib import Path
from typing import Any


def write_tokenizer(folder: Path, length: int = 24, pad: str = "<|endoftext|>") -> Any:
    """A CLIPTokenizer of the 512 byte symbols (each with and without </w>) and the two marks."""
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    symbols = list(bytes_to_unicode().values())
    words = [*symbols, *(s + "</w>" for s in symbols), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\nr e\nre d</w>\n")
    (folder / "vocab.json").write_text(
        json.dumps({w: i for i, w in enumerate([*words[:-2], "re", "red</w>", *words[-2:]])})
    )
    return CLIPTokenizer(
        str(folder / "vocab.json"),
        str(folder / "merges.txt"),
        model_max_length=length,
        pad_token=pad,
    )
