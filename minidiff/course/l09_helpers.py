"""What lesson 09 draws and trains beside the text: a toy of guidance, attention over words, sweeps and failures."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from minidiff import data
from minidiff.course import plots
from minidiff.course.sheets import recorded
from minidiff.data import shapes, to_unit
from minidiff.diffusion import Denoise, Prediction, Schedule, ddim, final
from minidiff.models.unet import UNet, UNetConfig
from minidiff.pipelines import StableDiffusion
from minidiff.recipes import results, stable_diffusion, system_bars
from minidiff.training import fit

SMALL = UNetConfig(channels=4, width=48, mults=(1, 2), blocks=1, attention=(0, 1), head_dim=16, text=128)
BATCH = 64


def normal_denoiser(schedule: Schedule, m: float, s: float) -> Denoise:
    """The perfect denoiser of x ~ N(m, s^2), in closed form: what an endlessly trained network would say.

    Args:
        schedule: the forward process. m: mean. s: standard deviation.
    """

    def denoise(x_t: Tensor, t: Tensor) -> Prediction:
        signal, noise = schedule.coefficients(t, x_t)
        x0 = m + s**2 * signal * (x_t - signal * m) / (signal**2 * s**2 + noise**2)
        return Prediction(x0, schedule.split("x0", x0, x_t, t)[1])

    return denoise


def guided_line(
    m: float, s: float, w: float, combine: Callable[[Tensor, float], Tensor], n: int = 20_000, steps: int = 100
) -> Tensor:
    """Draws numbers with guidance between two perfect denoisers, of N(m, s^2) and of N(0, 1).

    Args:
        m, s: of the distribution with a caption. w: guidance scale.
        combine: both predictions, [2N,1,1,1] with the caption's first, and w -> guided ones [N,1,1,1].
        n: numbers. steps: of DDIM.

    Returns:
        [n].
    """
    schedule = Schedule.linear(1000)
    told, free = normal_denoiser(schedule, m, s), normal_denoiser(schedule, 0.0, 1.0)

    def guided(x_t: Tensor, t: Tensor) -> Prediction:
        eps = combine(torch.cat([told(x_t, t).eps, free(x_t, t).eps]), w)
        return Prediction(*schedule.split("eps", eps, x_t, t))

    noise = torch.randn(n, 1, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return final(ddim(guided, schedule, noise, steps)).flatten()


@torch.no_grad()
def listen(pipe: StableDiffusion, text: Mapping[str, Tensor], z: Tensor, level: int) -> list[Tensor]:
    """The weights of every cross-attention of the U-Net at one level of noise.

    Args:
        pipe: the system. text: of `pipe.read`. z: [B,Z,h,w] noisy latents. level: of their noise.

    Returns:
        One [B,heads,N,L] for each layer, in the order in which they are computed.
    """
    found: list[Tensor] = []

    def note(layer: nn.Module, inputs: tuple) -> None:
        x, words, mask = inputs
        q = layer._split(layer.to_q(layer.norm(x).flatten(2).transpose(1, 2)))
        k = layer._split(layer.to_kv(words).chunk(2, dim=-1)[0])
        scores = q @ k.mT / q.shape[-1] ** 0.5
        found.append(scores.masked_fill(~mask[:, None, None, :], float("-inf")).softmax(dim=-1))

    layers = [stage.cross for stage in pipe.unet.modules() if getattr(stage, "cross", None) is not None]
    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    try:
        pipe.unet(z, torch.full((len(z),), level, device=z.device), **text)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def heard(x: Tensor, words: Sequence[str], maps: Tensor) -> None:
    """Draw a picture and, for each word, where it is heard.

    Args:
        x: [3,H,W] in [-1,1]. words: N. maps: [N,h,w], each drawn from 0 to its own maximum, which is written under it.
    """
    import matplotlib.pyplot as plt

    columns = 7
    rows = -(-(len(words) + 1) // columns)
    _, axes = plt.subplots(rows, columns, figsize=(9, 1.5 * rows), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    first, *others = axes.flat
    first.imshow(to_unit(x.cpu()).permute(1, 2, 0))
    first.set_title("picture", fontsize=9)
    for axis, word, one in zip(others, words, maps.cpu()):
        axis.imshow(one, cmap="magma", vmin=0)
        axis.set_title(word, fontsize=9)
        axis.text(0.5, -0.03, f"at most {one.max():.2f}", transform=axis.transAxes, ha="center", va="top", fontsize=7)


def small_model(pipe: StableDiffusion, steps: int, pictures: int, seed: int = 0) -> tuple[UNet, list[float]]:
    """Trains a small latent U-Net on captions of one object, as the recipe trains the large one on all.

    Args:
        pipe: its text encoder and autoencoder are used. steps: of training.
        pictures: different ones. seed: of everything.

    Returns:
        (model, loss of each step).
    """
    torch.manual_seed(seed)
    pool = stable_diffusion.pool(pipe.autoencoder, pictures, seed=seed, objects=1)
    loader = data.Batches(pool, BATCH, seed=seed, check=False)
    ema, history = fit(
        UNet(SMALL).to(memory_format=torch.channels_last), stable_diffusion.loss(pipe.clip), loader, steps, lr=2e-3,
        warmup=min(50, steps), ema_decay=0.98, seed=seed, label="latent U-Net",
    )  # fmt: skip
    return ema.model, history["loss"]


def sweeps(panels: Mapping[str, str]) -> None:
    """Draw recorded sweeps: attributes right and distance against a setting, a column for each.

    Args:
        panels: label of the setting -> prefix of its results.
    """
    import matplotlib.pyplot as plt

    keys = ("all_1", "all_2", "distance_1", "distance_2")
    _, axes = plt.subplots(2, len(panels), figsize=(8.8, 4.8), sharex="col", squeeze=False)
    for column, (label, prefix) in zip(axes.T, panels.items()):
        found = recorded(prefix, keys)
        if found is None:
            continue
        settings = list(found["all_1"])
        for number, colour in ((1, plots.MODEL), (2, plots.PALETTE["purple"])):
            name = f"{number} object{'s' * (number - 1)}"
            column[0].plot([found[f"all_{number}"][v] for v in settings], "o-", color=colour, label=name)
            column[1].plot([found[f"distance_{number}"][v] for v in settings], "o-", color=colour, label=name)
        column[0].set(ylim=(-0.03, 1.03))
        column[1].set(xlabel=label, yscale="log")
        column[1].set_xticks(range(len(settings)), settings)
    axes[0, 0].set_ylabel("all attributes right")
    axes[1, 0].set_ylabel("Frechet distance")
    if axes[0, 0].lines:
        axes[0, 0].legend()


def density(x: Tensor, mean: float, variance: float) -> Tensor:
    """Of N(mean, variance) at x."""
    return torch.distributions.Normal(mean, variance**0.5).log_prob(x).exp()


def bars() -> None:
    """Print what was recorded of the finished system, with intervals and both ceilings."""
    print(f"{'recorded':29} all right   95 % interval      true pictures: as they are   after the decoder   captions")
    after, numbers = (results.find(f"09_bars_{figure}") for figure in ("reconstructed", "captions"))
    for name in system_bars.BARS:
        found = results.find(f"09_bar_{results.slug(name)}")
        if found and after and numbers:
            low, high = found["interval"]
            print(
                f"{name:29} {found['value']:8.1%}   [{low:.1%}, {high:.1%}]   {found['floor']:26.1%} "
                f"{after['value'][name]:19.1%}   {numbers['value'][name]:8.0f}"
            )


def judged(x: Tensor, captions: Sequence[str], readings: Sequence[shapes.Reading], width: int = 20) -> None:
    """Draw pictures in a row, with what was asked for above and what the reader says below.

    Args:
        x: [N,3,H,W] in [-1,1]. captions: N. readings: N.
        width: letters in a line of text.
    """
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(1, len(x), figsize=(9, 3.3), squeeze=False)
    for axis, picture, asked, reading in zip(axes.flat, x, captions, readings):
        axis.imshow(to_unit(picture).permute(1, 2, 0))
        axis.set_axis_off()
        axis.set_title("\n".join(textwrap.wrap(asked, width)), fontsize=7)
        found = shapes.caption(reading.scene) if reading.scene else reading.reason
        text = "\n".join(textwrap.wrap(f"read: {found}", width))
        axis.text(0.5, -0.05, text, transform=axis.transAxes, ha="center", va="top", fontsize=7)
