"""Feature extractors by name, each with its preprocessing written down.

Bundled classifiers are always there. The towers of open_clip and the Inception network of the original FID are looked
for in their caches, then downloaded; where neither is possible, `ExtractorUnavailable` says so at once.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import torch
import torch.nn.functional as F
from torch import Tensor

from minidiff import pretrained
from minidiff.data.download import reachable
from minidiff.data.hub import WeightsUnavailable, open_clip_model
from minidiff.data.transforms import to_uint8
from minidiff.metrics.report import INCEPTION

# bundled checkpoint -> height and width of the pictures that it was trained on, whether its logits are of classes that
# exclude one another, and what it is
BUNDLED = {
    "mnist-classifier": (32, True, "bundled classifier of handwritten digits, 128 features"),
    "shapes-classifier": (32, False, "bundled classifier of the caption world's attributes, 128 features"),
}
OPEN_CLIP = "open_clip:"
INCEPTION_URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_SHA256 = "6726825d"  # first digits, as in the file's name


class ExtractorUnavailable(RuntimeError):
    """An extractor's package or weights are not on this machine and cannot be had."""


@dataclass(frozen=True)
class FeatureExtractor:
    """A function from pictures to features, with what has to be said about it. Any of your own will do.

    Attributes:
        name: what results call it.
        preprocessing: what `features` does to the pictures before its network sees them.
        features: [B,C,H,W] in [-1,1] -> [B,D].
        channels: 3 (grey pictures are repeated) or 1, or None where `features` takes both.
        size: height and width that its network sees; None where that is the pictures' own.
        head: from features [B,D] to logits [B,K] of classes, for the Inception Score.
        device: where `features` wants the pictures.
        texts: from B captions to features [B,D] in the same space, for the CLIP score.
    """

    name: str
    preprocessing: str
    features: Callable[[Tensor], Tensor]
    channels: int | None = None
    size: int | None = None
    head: Callable[[Tensor], Tensor] | None = None
    device: torch.device | str = "cpu"
    texts: Callable[[Sequence[str]], Tensor] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        return self.features(x)


def names() -> dict[str, str]:
    """The names that `load` knows, each with one line about it."""
    return {
        **{name: line for name, (*_, line) in BUNDLED.items()},
        INCEPTION: "the original FID's network, 2,048 features; needs torch-fidelity, downloads 91 MB once",
        f"{OPEN_CLIP}MODEL/TAG": f"a CLIP's image tower, such as {OPEN_CLIP}ViT-B-32/openai; downloads it once",
    }


def load(name: str, *, device: str | torch.device = "cpu") -> FeatureExtractor:
    """Finds an extractor by its name.

    Args:
        name: a bundled classifier, `inception-v3`, or `open_clip:MODEL/TAG` with a pair that open_clip lists.
        device: where the network goes.

    Raises:
        ValueError: there is none of that name.
        ExtractorUnavailable: its package or its weights cannot be had; without a network within two seconds.
    """
    if name in BUNDLED:
        return _bundled(name, torch.device(device))
    if name == INCEPTION:
        return _inception(torch.device(device))
    if name.startswith(OPEN_CLIP):
        return _open_clip(name, torch.device(device))
    raise ValueError(f"the extractor must be one of {', '.join(names())}; got {name!r}")


def fitted(x: Tensor, channels: int, size: int | None = None) -> Tensor:
    """Pictures with the channels and size that a network wants.

    Args:
        x: [B,C,H,H] in [-1,1].
        channels: 3 repeats grey pictures; 1 takes only these.
        size: height and width, by bicubic interpolation with antialiasing, clamped to [-1,1]; None leaves them.

    Returns:
        [B,channels,size,size].

    Raises:
        ValueError: the pictures are not square, or have colour where the network wants grey.

    >>> fitted(torch.zeros(2, 1, 8, 8), 3, 5).shape
    torch.Size([2, 3, 5, 5])
    """
    if x.ndim != 4 or x.shape[2] != x.shape[3]:
        raise ValueError(f"pictures must be square, [B,C,H,H]; got {list(x.shape)}")
    if x.shape[1] != channels and (x.shape[1], channels) != (1, 3):
        raise ValueError(f"pictures must have {'1 or 3 channels' if channels == 3 else '1 channel'}; got {x.shape[1]}")
    if size is not None and x.shape[2] != size:
        x = F.interpolate(x, (size, size), mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)
    return x.expand(-1, channels, -1, -1)


def _bundled(name: str, device: torch.device) -> FeatureExtractor:
    size, classes, _ = BUNDLED[name]
    model = pretrained.load(name, device=device).model
    channels = model.config.channels
    told = f"{'grey' if channels == 1 else 'grey repeated to RGB'}, {size}x{size} (other sizes: bicubic, antialiased)"
    head = model.head if classes else None
    return FeatureExtractor(
        name, told, lambda x: model.features(fitted(x, channels, size)), channels, size, head, device
    )


def _open_clip(name: str, device: torch.device) -> FeatureExtractor:
    model_name, _, tag = name.removeprefix(OPEN_CLIP).rpartition("/")
    try:
        model = open_clip_model(model_name, tag, device=device, prefix=OPEN_CLIP)
    except WeightsUnavailable as error:
        raise ExtractorUnavailable(f"{error}, or use a bundled extractor ({', '.join(BUNDLED)})") from error
    import open_clip

    return clip_extractor(name, model, lambda texts: open_clip.get_tokenizer(model_name)(list(texts)), device)


def clip_extractor(
    name: str,
    model: torch.nn.Module,
    tokenizer: Callable[[Sequence[str]], Tensor],
    device: torch.device | str = "cpu",
) -> FeatureExtractor:
    """The towers of an open_clip model, with the preprocessing that the model itself names.

    Args:
        name: what results call it.
        model: made by `open_clip.create_model`, in eval mode.
        tokenizer: from B captions to tokens [B,L].
        device: where the model is.
    """
    config = model.visual.preprocess_cfg
    size = config["size"] if isinstance(config["size"], int) else config["size"][0]
    mode = "bilinear" if config["interpolation"] == "bilinear" else "bicubic"
    mean, std = (torch.tensor(config[k], device=device).view(1, 3, 1, 1) for k in ("mean", "std"))

    def encode(x: Tensor) -> Tensor:
        pixels = to_uint8(fitted(x, 3))
        if pixels.shape[2] != size:  # in 8 bits and on the CPU, where torch computes what PIL does
            pixels = F.interpolate(pixels.cpu(), (size, size), mode=mode, antialias=True)
        return model.encode_image((pixels.to(device) / 255 - mean) / std)

    told = (
        f"grey repeated to RGB, rounded to 8 bits, {size}x{size} ({mode}, antialiased), "
        f"mean {_rounded(config['mean'])}, std {_rounded(config['std'])}"
    )
    return FeatureExtractor(
        name, told, encode, 3, size, None, device, lambda texts: model.encode_text(tokenizer(texts).to(device))
    )


def _rounded(values: tuple[float, ...]) -> str:
    return "/".join(f"{v:.3g}" for v in values)


def _inception(device: torch.device) -> FeatureExtractor:
    if importlib.util.find_spec("torch_fidelity") is None:
        raise ExtractorUnavailable(
            f"{INCEPTION} needs the package torch-fidelity, which is not installed: pip install torch-fidelity, or "
            "this project with its extra [fid]"
        )
    path = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE
    if not path.is_file():
        _download_inception(path)
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    model = FeatureExtractorInceptionV3(INCEPTION, ["2048"], feature_extractor_weights_path=str(_checked(path)))
    model = model.to(device).eval().requires_grad_(False)

    def encode(x: Tensor) -> Tensor:
        return model(to_uint8(fitted(x, 3)))[0]

    told = "grey repeated to RGB, rounded to 8 bits, 299x299 (TensorFlow 1 bilinear, not antialiased: the original's)"
    # Without its bias, as in the original Inception Score.
    return FeatureExtractor(INCEPTION, told, encode, 3, 299, lambda f: f @ model.fc.weight.mT, device)


def _checked(path: Path) -> Path:
    """The path, once its content has the published checksum: torch-fidelity unpickles what it is given.

    Raises:
        ExtractorUnavailable: the file is damaged.
    """
    import hashlib

    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(INCEPTION_SHA256):
        raise ExtractorUnavailable(
            f"{path} is damaged: its sha256 is {found[:8]}..., not {INCEPTION_SHA256}...; delete it"
        )
    return path


def _download_inception(path: Path) -> None:
    lacking = f"the weights of {INCEPTION} are not at {path}, and"
    if not reachable([INCEPTION_URL]):
        raise ExtractorUnavailable(
            f"{lacking} {urlsplit(INCEPTION_URL).hostname} cannot be reached. With a network, try again: they are "
            f"downloaded once (91 MB). Without one, put {INCEPTION_URL}{INCEPTION_FILE} there by hand, or use a "
            f"bundled extractor ({', '.join(BUNDLED)})"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(INCEPTION_URL + INCEPTION_FILE, str(path), hash_prefix=INCEPTION_SHA256)
    except Exception as error:  # network and disk fail in their own ways
        raise ExtractorUnavailable(f"{lacking} the download failed ({type(error).__name__}: {error})") from error
