"""How much a lesson computes: one table from profile to steps, sizes and sample counts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch

PROFILES = ("smoke", "laptop", "gpu")

# lesson -> size -> (smoke, laptop, gpu)
TABLE: dict[str, dict[str, tuple[int, int, int]]] = {
    "00": {
        "scenes": (20, 400, 2000),  # pictures read at each level of noise
        "drawn": (50, 2000, 20000),  # pictures by which the speed of drawing is told
        "wishes": (20, 200, 1000),  # pictures of a generator that fails in a known way
    },
    "01": {
        "line_steps": (60, 600, 600),  # of a discriminator on a line, and against a generator that stands still
        "toy_steps": (30, 1500, 1500),  # of each player on eight Gaussians
        "frames": (3, 15, 15),  # of each player about them
        "steps": (4, 2300, 6000),  # of each player on digits
        "samples": (60, 5000, 10000),  # generated digits that are measured
        "copies": (40, 1000, 2000),  # digits whose nearest training digit is looked for
        "walk": (2, 10, 10),  # frames between two stops of the walk
    },
    "02": {
        "particles": (400, 4000, 20000),  # particles of the simulated gas
        "walk_steps": (600, 600, 600),  # time steps of the simulation: few, and the box would not be even
        "points": (2000, 10000, 40000),  # draws of the one-dimensional toy
        "pictures": (500, 2000, 2000),  # pictures whose x_T is compared with N(0, I): the floor depends on it
        "largest": (1000, 20000, 60000),  # the most pictures in one comparison
        "readings": (100, 1000, 5000),  # test digits read at each level
        "seeds": (2, 5, 8),  # repetitions behind an interval
        "frames": (6, 21, 21),  # frames of the player
    },
    "03": {
        "particles": (200, 2000, 10000),  # on the line, driven by the perfect denoiser
        "levels": (5, 20, 40),  # noise levels at which losses are compared
        "floor": (32, 256, 1024),  # pictures for each of those
        "steps": (6, 1200, 4000),  # optimizer steps
        "batch": (16, 128, 256),
        "walkers": (1, 8, 8),  # digits drawn through all 1,000 levels
        "sample_steps": (4, 25, 25),  # DDIM steps
        "frames": (4, 24, 30),  # frames of the player
        "museum": (20, 120, 1000),  # pictures for each bug
        "samples": (20, 2000, 10000),  # generated pictures that are measured
        "ablation": (20, 300, 2000),  # pictures for each guidance scale
    },
    "04": {
        "steps": (4, 1000, 4000),  # optimizer steps of each of the six networks
        "pictures": (40, 1000, 2000),  # pictures that are measured
        "clutter": (200, 12800, 50000),  # training pictures: scenes, digits on clutter
    },
    "05": {
        "images": (512, 65536, 131072),  # images that the live training sees
        "pairs": (256, 32768, 32768),  # different ones among them
        "pictures": (60, 1000, 2000),  # pictures that are measured
        "gallery": (40, 400, 1000),  # captions that a picture chooses from
        "shots": (400, 3000, 10000),  # pictures that few-shot examples are drawn from
        "frames": (3, 15, 25),  # frames of the player
    },
    "06": {
        "steps": (4, 500, 3000),  # optimizer steps of each of the three enlargers
        "autoencoder_steps": (4, 700, 4000),
        "list_steps": (4, 500, 3000),  # of the vector-quantised one
        "digits": (20, 500, 2000),  # test digits that are enlarged and read
        "scenes": (10, 200, 1000),  # unseen scenes that go through the bundled decoders
        "frames": (3, 13, 25),  # frames of the player
    },
    "07": {
        "digits": (120, 2000, 5000),  # pictures in each set of digits
        "draws": (2, 8, 20),  # samples of each size
        "halves": (4, 50, 50),  # random halves behind an interval
        "steps": (3, 250, 400),  # of an attack on a metric
        "attacked": (40, 300, 1000),  # pictures of noise that fool a distance
        "scenes": (12, 300, 1000),  # scenes that CLIP score is tried on
    },
    "09": {
        "line": (500, 20000, 20000),  # numbers that the toy draws
        "steps": (4, 700, 3000),  # optimizer steps of the small model
        "pool": (70, 6000, 20000),  # pictures that it trains on
        "captions": (4, 100, 500),  # of each kind, drawn and judged
        "frames": (2, 8, 8),  # of the studio's film
    },
}


@dataclass(frozen=True)
class Profile:
    """The sizes of one lesson in one profile; each is an attribute, as in `profile.steps`.

    Attributes:
        name: `smoke` (seconds; tests), `laptop` or `gpu`.
        lesson: number of the lesson.
        sizes: size -> number.
    """

    name: str
    lesson: str
    sizes: Mapping[str, int]

    def __getattr__(self, size: str) -> int:
        if size.startswith("__"):  # asked for by copy and pickle before `sizes` is there
            raise AttributeError(size)
        if size in self.sizes:
            return self.sizes[size]
        known = ", ".join(self.sizes) or "none"
        raise AttributeError(f"lesson {self.lesson} has no size {size!r} in minidiff/course/profile.py; known: {known}")


def profile_name() -> str:
    """The profile in use: `MINIDIFF_PROFILE`, else `gpu` where there is CUDA, else `laptop`.

    Raises:
        ValueError: if `MINIDIFF_PROFILE` is none of the three.
    """
    name = os.environ.get("MINIDIFF_PROFILE") or ("gpu" if torch.cuda.is_available() else "laptop")
    if name not in PROFILES:
        raise ValueError(f"MINIDIFF_PROFILE is {name!r}; it must be one of {', '.join(PROFILES)}")
    return name


def profile(lesson: str) -> Profile:
    """The sizes of a lesson in the profile in use.

    Args:
        lesson: number of the lesson, as in `"03"`.

    Raises:
        ValueError: if `MINIDIFF_PROFILE` is none of the three.
    """
    name = profile_name()
    column = PROFILES.index(name)
    return Profile(name, lesson, {size: row[column] for size, row in TABLE.get(lesson, {}).items()})
