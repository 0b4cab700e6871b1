"""The largest numbers of a recipe and of options, for the schema and for `--help`: no imports."""

# torch takes 64 bits, and image i has seed + i.
MAX_SEED = 2**62
# No schedule of Stable Diffusion has more.
MAX_SAMPLER_STEPS = 1000
# Images of one prompt; --prompts takes as many prompts as a file has.
MAX_IMAGES = 10_000
# What JSON, torch and a terminal all hold exactly.
MAX_COUNT = 2**53
