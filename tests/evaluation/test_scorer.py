"""The scorer: equal to transformers' CLIP, whatever shape images have."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

from unidiff_cli.evaluation import extractors

SIDE = 32


@pytest.fixture
def scorer(scorer_folder):
    return extractors.scorer()


def unit(output):
    """Unit embeddings of a CLIPModel's output, as numpy."""
    embeds = getattr(output, "pooler_output", output)
    return torch.nn.functional.normalize(embeds, dim=-1).detach().numpy()


def test_image_embeddings_are_transformers(scorer, scorer_folder):
    """At the scorer's own size clean-fid's resize is the identity."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    images = [Image.fromarray(each) for each in pixels]
    features, embeds = scorer.embed_images(images, batch_size=2)
    processor = CLIPImageProcessor.from_pretrained(scorer_folder)
    clip = CLIPModel.from_pretrained(scorer_folder)
    expected = unit(clip.get_image_features(**processor(images, return_tensors="pt")))
    assert np.allclose(embeds, expected, atol=1e-5) and features.shape == (3, 32)


def test_caption_embeddings_are_transformers(scorer, scorer_folder):
    captions = ["red dress", "hat"]
    tokens = CLIPTokenizer.from_pretrained(scorer_folder)(
        captions, padding=True, return_tensors="pt"
    )
    clip = CLIPModel.from_pretrained(scorer_folder)
    embeds = scorer.embed_captions(captions)
    assert np.allclose(embeds, unit(clip.get_text_features(**tokens)), atol=1e-5)
    assert not np.allclose(embeds[0], embeds[1])


def test_captions_that_are_cut_are_counted(scorer):
    assert scorer.count_truncated(["hat", "a very long caption " * 5]) == 1


def test_images_of_other_shapes_are_cropped_then_resized(scorer):
    wide, square = Image.new("RGB", (60, 30), "red"), Image.new("RGB", (30, 30), "blue")
    wide.paste("blue", (15, 0, 45, 30))
    first, second = (scorer.embed_images([image])[0] for image in (wide, square))
    assert np.allclose(first, second, atol=1e-5)
