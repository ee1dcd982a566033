"""Extractors by name: their preprocessing against the references', and what is said where they cannot be had."""

import hashlib
import sys
import time

import pytest
import torch
import torch.nn.functional as F

import minidiff.data.hub
from minidiff import pretrained
from minidiff.data import from_uint8, to_uint8
from minidiff.evaluation import (
    ExtractorUnavailable,
    FeatureExtractor,
    extractor_names,
    extractors,
    fitted,
    load_extractor,
)

HUB = "minidiff-tests/tiny"
CLIP = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 7, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


def pictures(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture
def offline(monkeypatch):
    """No connection, and a probe that takes its time to find out."""
    monkeypatch.setattr(extractors, "reachable", lambda hosts: time.sleep(1.5))
    monkeypatch.setattr(minidiff.data.hub, "reachable", lambda hosts: time.sleep(1.5))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A tiny open_clip model, and where the hub's cache would have its weights."""
    import json

    import huggingface_hub
    import open_clip

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    config = tmp_path / "tiny-test.json"
    config.write_text(json.dumps(CLIP))
    open_clip.add_model_config(config)
    tag = {"hf_hub": f"{HUB}/", "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.1), "interpolation": "bilinear",
           "resize_mode": "squash", "quick_gelu": True}  # fmt: skip
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-test", {"random": tag})
    revision = "0" * 40
    place = tmp_path / "hub" / f"models--{HUB.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(revision)
    yield place / "snapshots" / revision / "open_clip_model.safetensors"
    open_clip.factory._MODEL_CONFIGS.pop("tiny-test")
    open_clip.factory._MODEL_CONFIG_PATHS.remove(config)


# --- channels and sizes ------------------------------------------------------------------------------------------


def test_fitted_repeats_grey_and_resizes_with_antialiasing():
    x = pictures(2, 1, 12, 12)
    assert torch.equal(fitted(x, 1, 12), x) and torch.equal(fitted(x, 1, None), x)
    expected = F.interpolate(x, (5, 5), mode="bicubic", antialias=True).clamp(-1, 1)
    assert torch.equal(fitted(x, 3, 5), expected.expand(-1, 3, -1, -1))
    sharp = torch.ones(1, 1, 8, 8)
    sharp[..., :4] = -1
    assert fitted(sharp, 1, 32).abs().max() <= 1  # bicubic overshoots


@pytest.mark.parametrize(
    ("shape", "channels", "message"),
    [
        ((1, 3, 8, 8), 1, "must have 1 channel; got 3"),
        ((1, 2, 8, 8), 3, "must have 1 or 3 channels; got 2"),
        ((1, 1, 8, 9), 1, r"must be square, \[B,C,H,H\]; got \[1, 1, 8, 9\]"),
        ((1, 8, 8), 1, "must be square"),
    ],
)
def test_pictures_that_do_not_fit(shape, channels, message):
    with pytest.raises(ValueError, match=message):
        fitted(torch.zeros(shape), channels, None)


def test_names_and_unknown_names():
    assert list(extractor_names()) == ["mnist-classifier", "shapes-classifier", "inception-v3", "open_clip:MODEL/TAG"]
    for name in ("mnist", "", "open_clip", "Inception-v3"):
        with pytest.raises(ValueError, match="one of mnist-classifier, .*inception-v3, open_clip:MODEL/TAG; got"):
            load_extractor(name)


def test_the_bundled_classifier(device):
    found, model = load_extractor("mnist-classifier", device=device), pretrained.load("mnist-classifier").model
    x = pictures(3, 1, 32, 32)
    f = found(x.to(device))
    torch.testing.assert_close(f.cpu(), model.features(x), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found.head(f).cpu(), model(x), rtol=1e-3, atol=1e-3)
    small = pictures(3, 1, 20, 20)
    resized = F.interpolate(small, (32, 32), mode="bicubic", antialias=True).clamp(-1, 1)
    torch.testing.assert_close(found(small.to(device)).cpu(), model.features(resized), rtol=1e-3, atol=1e-3)
    assert (found.channels, found.size, found.preprocessing[:11]) == (1, 32, "grey, 32x32")
    with pytest.raises(ValueError, match="must have 1 channel; got 3"):
        found(pictures(2, 3, 32, 32).to(device))


def test_every_bundled_extractor_loads():
    for name, (size, classes, _) in extractors.BUNDLED.items():
        found = load_extractor(name)
        assert (found.head is not None) == classes  # an Inception Score of attributes would mean nothing
        assert (found.name, found.size) == (name, size) and found(torch.zeros(2, 1, size, size)).ndim == 2


def test_any_function_will_do():
    mine = FeatureExtractor("means", "none", lambda x: x.mean(dim=(2, 3)))
    assert mine(pictures(4, 3, 5, 6)).shape == (4, 3)


# --- open_clip ---------------------------------------------------------------------------------------------------


def test_open_clip_from_its_cache(hub, offline):
    import open_clip
    from safetensors.torch import save_file

    torch.manual_seed(3)
    reference = open_clip.create_model("tiny-test", force_quick_gelu=True).eval()
    hub.parent.mkdir(parents=True)
    save_file(reference.state_dict(), hub)
    found = load_extractor("open_clip:tiny-test/random")
    assert found.name == "open_clip:tiny-test/random" and (found.channels, found.size) == (3, 32)
    assert found.preprocessing == (
        "grey repeated to RGB, rounded to 8 bits, 32x32 (bilinear, antialiased), mean 0.4/0.5/0.6, std 0.2/0.3/0.1"
    )
    x = from_uint8(to_uint8(pictures(5, 3, 32, 32)))
    mean, std = torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1), torch.tensor([0.2, 0.3, 0.1]).view(3, 1, 1)
    with torch.no_grad():
        expected = reference.encode_image(((x + 1) / 2 - mean) / std)
    torch.testing.assert_close(found(x), expected)
    assert found(x).shape == (5, 24) and found.head is None
    with torch.no_grad():
        texts = found.texts(["a red circle"])
        torch.testing.assert_close(texts, reference.encode_text(open_clip.get_tokenizer("tiny-test")(["a red circle"])))
    assert texts.shape == (1, 24)
    assert torch.equal(found(x[:, :1]), found(x[:, :1].repeat(1, 3, 1, 1)))


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("side", [57, 20])
def test_open_clip_preprocessing_is_the_models_own(interpolation, side):
    """Against open_clip's transform of PIL pictures, which rounds to 8 bits after resizing."""
    import open_clip
    from PIL import Image

    class Seen(torch.nn.Module):
        def encode_image(self, x):
            return x.flatten(1)

    config = open_clip.transform.PreprocessCfg(size=(32, 32), interpolation=interpolation)
    model = Seen()
    model.visual = torch.nn.Module()
    model.visual.preprocess_cfg = vars(config)
    own = open_clip.transform.image_transform_v2(config, is_train=False)
    pixels = torch.randint(0, 256, (side, side, 3), dtype=torch.uint8)
    expected = own(Image.fromarray(pixels.numpy())).flatten()
    x = pixels.permute(2, 0, 1)[None].float() / 127.5 - 1
    found = extractors.clip_extractor("seen", model, None)(x)[0]
    assert (found - expected).abs().max() < 1.01 / 255 / min(config.std)  # one step of 8 bits
    assert expected.std() > 0.3


def test_open_clip_without_weights_says_so_at_once(hub, offline):
    import open_clip  # noqa: F401  (importing it is not what is timed)

    began = time.monotonic()
    with pytest.raises(ExtractorUnavailable, match="open_clip:tiny-test/random are not in .*hub, and .* cannot be"):
        load_extractor("open_clip:tiny-test/random")
    assert time.monotonic() - began < 2


def test_without_any_weights_open_clip_is_not_even_imported(tmp_path, offline, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "none"))
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(ExtractorUnavailable, match="ViT-B-32/openai are not in .*none, and .* cannot be reached"):
        load_extractor("open_clip:ViT-B-32/openai")


def test_open_clip_obeys_offline_mode(hub, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(minidiff.data.hub, "reachable", lambda hosts: True)
    with pytest.raises(ExtractorUnavailable, match="HF_HUB_OFFLINE is set"):
        load_extractor("open_clip:tiny-test/random")


def test_open_clip_download_that_fails(hub, monkeypatch):
    import open_clip.pretrained

    def broken(config):
        raise OSError("disk full")

    monkeypatch.setattr(minidiff.data.hub, "reachable", lambda hosts: True)
    monkeypatch.setattr(open_clip.pretrained, "download_pretrained", broken)
    with pytest.raises(ExtractorUnavailable, match=r"download failed \(OSError: disk full\)"):
        load_extractor("open_clip:tiny-test/random")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("open_clip:ViT-B-32/nope", "ViT-B-32 has the tags openai, .*"), ("open_clip:ViT-B-32", "see open_clip.list"),
     ("open_clip:nope/openai", "see open_clip.list_pretrained")],
)  # fmt: skip
def test_open_clip_pairs_that_do_not_exist(name, hint, monkeypatch):
    monkeypatch.setattr(minidiff.data.hub, "reachable", lambda hosts: True)
    with pytest.raises(ValueError, match=f"must be open_clip:MODEL/TAG as .*got '{name}' .*{hint}"):
        load_extractor(name)


# --- the original FID's Inception ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def inception_weights(tmp_path_factory):
    """The real network with random weights, saved where torch.hub would have put the published ones."""
    from unittest import mock

    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    torch.manual_seed(0)
    with (
        mock.patch("torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", lambda *a, **k: {}),
        mock.patch.object(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None),
    ):
        network = FeatureExtractorInceptionV3("random", ["2048", "logits_unbiased"])
    path = tmp_path_factory.mktemp("hub") / "checkpoints" / extractors.INCEPTION_FILE
    path.parent.mkdir()
    torch.save(network.state_dict(), path)
    return path, network, hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def small(monkeypatch):
    """The network at 107x107, where it is eight times as quick."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    monkeypatch.setattr(FeatureExtractorInceptionV3, "INPUT_IMAGE_SIZE", 107)


def test_inception_from_its_cache(inception_weights, monkeypatch, offline, small):
    path, network, digest = inception_weights
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(path.parent.parent))
    monkeypatch.setattr(extractors, "INCEPTION_SHA256", digest[:8])
    found = load_extractor("inception-v3")
    x = pictures(2, 3, 40, 40)
    x[1] = x[1, :1]
    features, logits = network(to_uint8(x))  # what torch-fidelity itself does with pictures
    torch.testing.assert_close(found(x[:1]), features[:1])
    assert features.shape == (2, 2048) and features[0].std() > 0
    torch.testing.assert_close(found.head(features), logits)
    torch.testing.assert_close(found(x[1:, :1]), features[1:])  # grey is repeated
    assert found.preprocessing == (
        "grey repeated to RGB, rounded to 8 bits, 299x299 (TensorFlow 1 bilinear, not antialiased: the original's)"
    )
    assert (found.name, found.channels, found.size) == ("inception-v3", 3, 299)


def test_inception_does_not_open_damaged_weights(inception_weights, monkeypatch):
    path = inception_weights[0]
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(path.parent.parent))
    with pytest.raises(ExtractorUnavailable, match=r"is damaged: its sha256 is \w{8}\.\.\., not 6726825d"):
        load_extractor("inception-v3")


def test_inception_without_weights_says_so_at_once(tmp_path, monkeypatch, offline):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    began = time.monotonic()
    with pytest.raises(ExtractorUnavailable, match="weights of inception-v3 are not at .*github.com cannot be reached"):
        load_extractor("inception-v3")
    assert time.monotonic() - began < 2
    assert not list(tmp_path.rglob("*"))


def test_inception_without_its_package_says_so_at_once(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(ExtractorUnavailable, match="package torch-fidelity, .*pip install torch-fidelity"):
        load_extractor("inception-v3")


def test_inception_download(tmp_path, monkeypatch, inception_weights):
    path, network, digest = inception_weights
    asked = []

    def download(url, dst, hash_prefix):
        asked.append((url, hash_prefix))
        if len(asked) == 1:
            raise OSError("connection lost")
        with open(dst, "wb") as file:
            file.write(path.read_bytes())

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    monkeypatch.setattr(extractors, "reachable", lambda hosts: True)
    monkeypatch.setattr(extractors, "INCEPTION_SHA256", digest[:8])
    with pytest.raises(ExtractorUnavailable, match=r"download failed \(OSError: connection lost\)"):
        load_extractor("inception-v3")
    f = pictures(3, 2048)
    assert torch.equal(load_extractor("inception-v3").head(f), f @ network.fc.weight.mT)
    assert asked[1] == (extractors.INCEPTION_URL + extractors.INCEPTION_FILE, digest[:8])
