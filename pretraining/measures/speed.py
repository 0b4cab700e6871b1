"""How long the base takes to open and to generate."""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from pretraining.measures.generation import Generator
from pretraining.measures.targets import Figures

LOADING = """
import sys, time
import torch, transformers
from diffusers import StableDiffusionPipeline
import transformers.models.clip.modeling_clip
import diffusers.models.unets.unet_2d_condition, diffusers.models.autoencoders.autoencoder_kl
start = time.perf_counter()
StableDiffusionPipeline.from_pretrained(sys.argv[1])
print(time.perf_counter() - start)
"""


def speed(generator: Generator, folder: Path, times: int) -> Figures:
    """Median seconds for 8 images on two threads, after a warm-up, and for opening the base.

    The base is opened in a fresh interpreter. `load_average` is the machine's: above 2, something
    else ran on the two cores.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        seconds = []
        for _ in range(times + 1):
            start = time.perf_counter()
            generator.images(["red dress"] * 8)
            seconds.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    return {
        "eight_images_seconds": statistics.median(seconds[1:]),
        "loading_seconds": statistics.median(_seconds_to_open(folder) for _ in range(times)),
        "load_average": os.getloadavg()[0],
    }


def _seconds_to_open(folder: Path) -> float:
    command = [sys.executable, "-c", LOADING, str(folder)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
