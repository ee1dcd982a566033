"""What lesson 00 shows of the models of the course: three boxes opened, and three kinds of models compared."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from minidiff import pretrained
from minidiff.course.display import Shown, tables
from minidiff.diffusion import Schedule, clipped, ddim, denoiser, final, given
from minidiff.recipes import results


def words(text: Tensor, mask: Tensor, names: Sequence[str]) -> None:
    """Draw a caption as the numbers that stand for it: a row for each word.

    Args:
        text: [1,L,D]. mask: [1,L]. names: words, begin and end among them.
    """
    import matplotlib.pyplot as plt

    rows = text[0, mask[0]].cpu()
    _, ax = plt.subplots(figsize=(8.6, 0.24 * len(rows) + 0.6))
    ax.imshow(rows, aspect="auto", cmap="RdBu", vmin=-2.5, vmax=2.5, interpolation="nearest")
    ax.set_yticks(range(len(rows)), names, fontsize=9)
    ax.set(xlabel=f"the {rows.shape[1]} numbers of each word", xticks=[])
    ax.tick_params(left=False)
    ax.spines[:].set_visible(False)


@torch.no_grad()
def seconds_a_digit(n: int, device: str | torch.device = "cpu", steps: int = 25) -> dict[str, float]:
    """How long the bundled GAN and the bundled diffusion model of digits take for one, measured now.

    Args:
        n: digits at once. device: where. steps: of the diffusion model's sampler.
    """
    gan, diffusion = (pretrained.load(name, device=device).model for name in ("mnist-gan", "mnist-ddpm"))
    schedule, y = Schedule.linear(1000), torch.arange(n, device=device) % 10
    noise = torch.randn(n, 1, 32, 32, generator=torch.Generator().manual_seed(0)).to(device)
    z = torch.randn(n, gan.config.z, generator=torch.Generator().manual_seed(0)).to(device)

    def drawn_by_diffusion() -> Tensor:
        sure = clipped(given(denoiser(diffusion, schedule), {"y": y}), schedule)
        return final(ddim(sure, schedule, noise, steps))

    found = {}
    for name, draw in (("GAN", lambda: gan(z)), ("diffusion", drawn_by_diffusion)):
        draw()  # the first call pays for more than the drawing
        began = time.perf_counter()
        draw().cpu()
        found[name] = (time.perf_counter() - began) / n
    return found


def compared(seconds: dict[str, float]) -> Shown:
    """The table of GAN, diffusion and CLIP, each number with the lesson that measured it.

    Args:
        seconds: of `seconds_a_digit`.
    """
    duel, toy = "01_bundled_gan_and_diffusion", "01_toy_modes"
    times = {name: 1000 * value for name, value in seconds.items()}
    swaps = [_number("05_word_order", f"{tower} swap_told_apart") for tower in ("Transformer", "CBOW")]
    strength = (
        f"quick: {times['GAN']:.1f} ms a digit, just now on this machine",
        f"covers more of what there is: recall {_number(duel, 'diffusion recall')} after a long training, GAN "
        f"{_number(duel, 'gan recall')}, real digits {_number(duel, 'real recall')} ({_lesson('01')}); "
        f"{_number('03_share_of_asked_digit')} show the digit asked for ({_lesson('03')})",
        f"needs no labels: names {_card('zero_shot_held_out_pairs')} of pairs of colour and shape that it never saw "
        f"together ({_lesson('05')})",
    )
    weakness = (
        f"may collapse: of 8 clusters it found {_number(toy, 'collapses')} in a bad setting, "
        f"{_number(toy, 'covers')} in a good one (means of 5 runs; {_lesson('01')})",
        f"slow: {times['diffusion']:.1f} ms a digit in 25 steps, {times['diffusion'] / times['GAN']:.0f} times the "
        "GAN's, just now",
        f"the order of words: of scenes with two objects exchanged it tells {swaps[0]} apart, without a Transformer "
        f"{swaps[1]} ({_lesson('05')})",
    )
    rows = {
        "what it is for": (
            "drawing pictures like those it has seen", "drawing pictures that fit a class, a caption, a small picture",
            "saying how well a caption and a picture fit; it draws nothing",
        ),
        "how": (
            "two networks in a contest; one of them draws, in one pass", "noise is removed in many small steps",
            "two encoders that agree where caption and picture belong together",
        ),
        "strength": strength,
        "weakness": weakness,
        "where it is used": (
            "where every millisecond counts; its critic lives on in decoders", "Stable Diffusion, DALL-E 2, Imagen",
            "as their ear (text encoder), as a judge (CLIP score), to sort pictures",
        ),
    }  # fmt: skip
    head = ["| | GAN | diffusion | CLIP |", "|---|---|---|---|"]
    return tables("\n".join([*head, *(f"| **{name}** | {' | '.join(cells)} |" for name, cells in rows.items())]))


LESSONS = {"01": "01_gan", "03": "03_ddpm_training", "05": "05_clip_contrastive_learning"}


def _lesson(number: str) -> str:
    return f"[lesson {number}]({LESSONS[number]}.ipynb)"


def _number(name: str, key: str = "") -> str:
    found = results.find(name)
    if found is None:  # an installed package without the checkout's results
        return "-"
    value = found["value"][key] if key else found["value"]
    return f"{value:.1f}" if value > 1 else f"{value:.1%}"


def _card(name: str) -> str:
    return f"{pretrained.load('mini-clip').card['metrics'][name]:.1%}"


