"""The networks that are compared, each with its diffusion loss: ours and two that people use."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from minidiff.diffusion import Schedule
from minidiff.models.unet import UNet, UNetConfig
from minidiff.objectives import DiffusionLoss
from minidiff.recipes.mnist_ddpm import CONFIG

SHAPE, BATCH = (3, 32, 32), 32
WIDTHS, HEADS = (64, 64, 128), 32  # of the diffusers network and of its twin, attention at the second resolution


class Ours(nn.Module):
    """Our U-Net with the loss that lesson 03 trains it by, in the memory format that its recipe uses."""

    def __init__(self, config: UNetConfig):
        super().__init__()
        self.unet = UNet(config).to(memory_format=torch.channels_last)
        self.loss = DiffusionLoss(Schedule.linear(1000))

    def forward(self, x: Tensor) -> Tensor:
        batch = {"x": x}
        if self.unet.config.classes:
            batch["y"] = torch.arange(len(x)) % self.unet.config.classes
        return self.loss(self.unet, batch)[0]


class Diffusers(nn.Module):
    """`UNet2DModel` and `DDPMScheduler.add_noise`, as in diffusers' unconditional training example."""

    def __init__(self):
        super().__init__()
        from diffusers import DDPMScheduler, UNet2DModel

        self.unet = UNet2DModel(
            sample_size=SHAPE[1], in_channels=3, out_channels=3, layers_per_block=2, block_out_channels=WIDTHS,
            down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"), attention_head_dim=HEADS,
        )  # fmt: skip
        self.scheduler = DDPMScheduler(1000)

    def forward(self, x: Tensor) -> Tensor:
        eps, t = torch.randn_like(x), torch.randint(0, 1000, (len(x),))
        return (self.unet(self.scheduler.add_noise(x, eps, t), t).sample - eps).square().mean()


class DenoisingDiffusionPytorch(nn.Module):
    """`Unet` and `GaussianDiffusion` of denoising-diffusion-pytorch, predicting the noise."""

    def __init__(self, dim: int = 32):
        super().__init__()
        from denoising_diffusion_pytorch import GaussianDiffusion, Unet

        self.diffusion = GaussianDiffusion(
            Unet(dim, dim_mults=(1, 2, 4), channels=3), image_size=SHAPE[1], timesteps=1000,
            beta_schedule="linear", objective="pred_noise",
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.diffusion((x + 1) / 2)


def parameters(model: nn.Module) -> int:
    """Number of trained parameters."""
    return sum(p.numel() for p in model.parameters())


def matched(config: UNetConfig, target: int) -> UNetConfig:
    """`config` for colour pictures, its width scaled until its parameters come nearest to `target`."""
    widths = range(config.head_dim, 400, 4)
    fitting = [w for w in widths if all(w * m % config.head_dim == 0 for m in heads(config))]
    configs = [replace(config, channels=SHAPE[0], width=w) for w in fitting]
    with torch.device("meta"):
        return min(configs, key=lambda c: abs(parameters(UNet(c)) - target))


def heads(config: UNetConfig) -> set[int]:
    """Width multiples of the resolutions that have attention."""
    return {config.mults[i] for i in config.attention} | {config.mults[-1]}


def build(name: str, target: int = 0) -> nn.Module:
    """A network by name; ours are scaled to `target` parameters where they are compared at equal size."""
    torch.manual_seed(0)
    if name == "diffusers":
        return Diffusers()
    if name == "denoising-diffusion-pytorch":
        return DenoisingDiffusionPytorch()
    if name == "ours, lesson 03":
        return Ours(matched(CONFIG, target))
    if name == "ours, no patch":
        mults = tuple(w // WIDTHS[0] for w in WIDTHS)
        return Ours(UNetConfig(3, WIDTHS[0], mults, blocks=2, attention=(1,), head_dim=HEADS))
    raise ValueError(f"no network is called {name!r}")
