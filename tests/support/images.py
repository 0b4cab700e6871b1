"""What `generate` makes, without a model."""

from unidiff_cli.generation.record import GenerationRecord


def generated_record(seed: int) -> GenerationRecord:
    """The record of an image of a seed."""
    values = {"prompt": "dress", "negative": "", "export": "001", "weights_hash": "x"}
    numbers = {"seed": seed, "steps": 1, "guidance": 1.0, "size": 512}
    return GenerationRecord(**values, **numbers, scheduler="DDIM")
