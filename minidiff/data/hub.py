"""open_clip's published models: from the hub's cache, else downloaded, else an error that says what is missing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from .download import reachable

if TYPE_CHECKING:
    import torch
    from torch import nn


class WeightsUnavailable(RuntimeError):
    """Published weights are not on this machine and cannot be had."""


def open_clip_model(model: str, tag: str, *, device: str | torch.device = "cpu", prefix: str = "") -> nn.Module:
    """One of open_clip's models with published weights, in eval mode, without gradients.

    The activation is that of the tag: the configs `ViT-B-32`, `RN50` and `ViT-L-14` say GELU, and OpenAI's weights want
    its quick approximation.

    Args:
        model: name of the architecture, as in `"ViT-B-32"`.
        tag: of the weights, as in `"openai"`.
        device: where the model goes.
        prefix: stands before `MODEL/TAG` in what errors say.

    Raises:
        ValueError: open_clip lists no such pair.
        WeightsUnavailable: the weights cannot be had; without a network within two seconds.
    """
    from huggingface_hub import constants

    called = prefix + "/".join(part for part in (model, tag) if part)
    with ThreadPoolExecutor(1) as pool:  # importing open_clip takes about as long as finding that there is no network
        online = pool.submit(reachable, [constants.ENDPOINT])
        if not any(Path(constants.HF_HUB_CACHE).glob("models--*")):  # then the import would tell nothing new
            _check_online(called, online.result())
        import open_clip
    known = open_clip.get_pretrained_cfg(model, tag) if model in open_clip.list_models() else {}
    if not known:
        tags = open_clip.list_pretrained_tags_by_model(model)
        some = ", ".join(tags[:5]) + (", ..." if len(tags) > 5 else "")
        hint = f"{model} has the tags {some}" if tags else "see open_clip.list_pretrained()"
        raise ValueError(f"the model must be {prefix}MODEL/TAG as open_clip lists them; got {called!r} ({hint})")
    path = _cached(known) or _download(called, known, online.result())
    seen = {k: known[k] for k in ("mean", "std", "interpolation", "resize_mode") if k in known}
    found = open_clip.create_model(
        model, pretrained=str(path), force_quick_gelu=known.get("quick_gelu", False), force_preprocess_cfg=seen,
        device=device,
    )  # fmt: skip
    return found.eval().requires_grad_(False)


def _files(known: dict) -> list[tuple[str, str]]:
    """(repository, file) pairs on the hub that hold the weights, the preferred one first."""
    from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

    repository, _, file = known.get("hf_hub", "").rpartition("/")
    if not repository:
        return []
    safe = HF_SAFE_WEIGHTS_NAME if not file else str(Path(file).with_suffix(".safetensors"))
    return [(repository, safe), (repository, file or HF_WEIGHTS_NAME)]


def _cached(known: dict) -> Path | None:
    """The weights' file, if the hub's cache has it; nothing is asked of the network."""
    from huggingface_hub import constants, try_to_load_from_cache

    for repository, file in _files(known):
        found = try_to_load_from_cache(repository, file, cache_dir=constants.HF_HUB_CACHE)
        if isinstance(found, str):
            return Path(found)
    return None


def _check_online(called: str, online: bool) -> None:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE or not online:
        why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else f"{constants.ENDPOINT} cannot be reached"
        raise WeightsUnavailable(
            f"the weights of {called} are not in {constants.HF_HUB_CACHE}, and {why}. With a network, try again: they "
            "are downloaded once. Without one, copy that cache from a machine that has them"
        )


def _download(called: str, known: dict, online: bool) -> Path:
    from open_clip.pretrained import download_pretrained

    _check_online(called, online)
    try:
        return Path(download_pretrained(known))
    except Exception as error:  # network, hub and disk all fail in their own ways
        raise WeightsUnavailable(f"{called}: the download failed ({type(error).__name__}: {error})") from error
