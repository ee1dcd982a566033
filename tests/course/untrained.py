"""A system of the bundled system's shape that was never trained."""

import torch

from minidiff import pretrained
from minidiff.data.shapes import tokenizer
from minidiff.models.autoencoder import Autoencoder, AutoencoderConfig
from minidiff.models.unet import UNet, UNetConfig
from minidiff.pipelines import StableDiffusion


def untrained():
    torch.manual_seed(0)
    unet = UNet(UNetConfig(channels=4, width=16, mults=(1, 2), blocks=1, head_dim=8, attention=(0, 1), text=128))
    for parameter in unet.parameters():  # the zero-initialised layers too, so that captions matter
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    autoencoder = Autoencoder(AutoencoderConfig(width=8, mults=(1, 2), patch=4, groups=4)).eval()
    return StableDiffusion(tokenizer(), pretrained.load("mini-clip").model, unet.eval(), autoencoder)
