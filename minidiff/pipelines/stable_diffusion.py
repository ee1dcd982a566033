"""Stable Diffusion in small (Rombach et al., 2022): a caption's tokens, a diffusion model of latents, a decoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .. import pretrained
from ..data import WordTokenizer
from ..diffusion import Schedule, Step, Target, classifier_free, ddim, denoiser, final, generators, randn
from ..models.autoencoder import Autoencoder
from ..models.clip import CLIP
from . import description

SYSTEM = "stable-diffusion"
PARTS = ("clip", "unet", "autoencoder")


class Options(NamedTuple):
    """What the generation model was trained for, and how it is sampled where nothing else is asked."""

    side: int = 8  # height and width of the latents
    T: int = 1000  # levels of the linear schedule
    predict: Target = "v"
    steps: int = 25
    scale: float = 2.0


@dataclass
class StableDiffusion:
    """Three models, trained apart. Any of them can be exchanged for another that fits.

    Attributes:
        tokenizer: captions -> tokens.
        clip: its text tower reads the caption; a CLIP of which only `text.tokens` is used.
        unet: `unet(z_t, t, text=, mask=)`, a diffusion model of scaled latents.
        autoencoder: latents -> pictures.
        options: see `Options`.
    """

    tokenizer: WordTokenizer
    clip: CLIP
    unet: nn.Module
    autoencoder: Autoencoder
    options: Options = Options()

    def __call__(
        self, prompts: Sequence[str], *, steps: int | None = None, scale: float | None = None,
        seeds: Sequence[int] | None = None,
    ) -> Tensor:  # fmt: skip
        """One picture for each caption, the same for the same seed whatever else is in the batch.

        Args:
            prompts: B captions.
            steps: DDIM steps.
            scale: guidance; 1 is none.
            seeds: B seeds; by default 0, 1, ...

        Returns:
            [B,3,H,W] in [-1,1].

        Raises:
            ValueError: there is no prompt, one has a word that the tokenizer does not know, or the number of seeds is
                another.
        """
        z = self.draw(self.read(prompts), steps=steps, scale=scale, seeds=seeds)
        return self.decode(z)

    @torch.no_grad()
    def read(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """The first box. B captions -> {"text": [B,L,D], "mask": [B,L]}, what the U-Net attends to."""
        if isinstance(prompts, str) or not prompts:
            raise ValueError(f"prompts must be a list of at least one caption; got {prompts!r}")
        self.tokenizer.require(prompts)
        batch = {name: value.to(self.device) for name, value in self.tokenizer(prompts).items()}
        return {"text": self.clip.text.tokens(batch["tokens"]), "mask": batch["mask"]}

    def draw(self, text: dict[str, Tensor], **options) -> Tensor:
        """The second box. What `read` gives -> scaled latents [B,Z,h,w]; see `__call__` for the options."""
        return final(self.trajectory(text, **options))

    def trajectory(
        self, text: dict[str, Tensor], *, steps: int | None = None, scale: float | None = None,
        seeds: Sequence[int] | None = None,
    ) -> Iterator[Step]:  # fmt: skip
        """All steps of `draw`, from noise to latents, one at a time."""
        n, o = len(text["text"]), self.options
        seeds = range(n) if seeds is None else seeds
        if len(seeds) != n:
            raise ValueError(f"seeds must be one for each of the {n} prompts; got {len(seeds)}")
        schedule, null = Schedule.linear(o.T), {name: value[0] for name, value in self.read([""]).items()}
        scale = o.scale if scale is None else scale
        guided = classifier_free(denoiser(self.unet, schedule, o.predict), text, null, scale)
        noise = randn((self.autoencoder.config.latent, o.side, o.side), generators(seeds)).to(self.device)
        return ddim(guided, schedule, noise, o.steps if steps is None else steps)

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """The third box. Scaled latents [B,Z,h,w] -> pictures [B,3,H,W] in [-1,1]."""
        return self.autoencoder.pictures(z).clamp(-1, 1)

    @property
    def device(self) -> torch.device:
        """Where the U-Net is."""
        return next(self.unet.parameters()).device

    def to(self, device: str | torch.device) -> StableDiffusion:
        """Moves the three models; returns itself."""
        for name in PARTS:
            getattr(self, name).to(device)
        return self

    def save(self, folder: Path) -> None:
        """Writes the three models, as `pretrained.save` does, and `stable-diffusion.json`, which names them.

        Args:
            folder: where to.
        """
        for name in PARTS:
            pretrained.save(name, getattr(self, name), {"part_of": SYSTEM}, folder=folder)
        self.describe(folder, {name: name for name in PARTS})

    def describe(self, folder: Path, parts: dict[str, str]) -> None:
        """Writes `stable-diffusion.json` alone.

        Args:
            folder: where to.
            parts: names of the checkpoints "clip", "unet" and "autoencoder" in that folder.
        """
        description.write(folder, SYSTEM, parts, self.tokenizer, self.options._asdict())

    @classmethod
    def from_pretrained(cls, where: str | Path = SYSTEM) -> StableDiffusion:
        """Loads a saved system.

        Args:
            where: "stable-diffusion" for the bundled one, or a folder.

        Raises:
            ValueError: there is none, or a part cannot be loaded.
        """
        models, tokenizer, options = description.read(where, SYSTEM)
        return cls(tokenizer, **models, options=Options(**options))
