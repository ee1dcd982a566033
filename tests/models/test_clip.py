"""CLIP's towers: against open_clip where it has them, and against what they must not do."""

import logging
import math
import time
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from minidiff import pretrained
from minidiff.data.hub import WeightsUnavailable
from minidiff.models.clip import CLIP, CLIPConfig, clamp_logit_scale, parameter_groups
from minidiff.models.image_encoders import AttentionPool, EfficientNet, EfficientNetConfig, ResNet, ResNetConfig, ViT
from minidiff.models.image_encoders import ViTConfig as VConfig
from minidiff.models.text_encoders import CBOW, CBOWConfig, TextTransformer, TextTransformerConfig, end_of_text
from minidiff.models.transformer import TransformerBlock, quick_gelu

TOWERS = {
    "vit": VConfig(size=12, patch=4, width=24, layers=2, heads=3),
    "resnet": ResNetConfig(size=16, base=6, blocks=(1, 2), heads=4),
    "efficientnet": EfficientNetConfig(size=16, scale=0.25, stages=3, width=20),
}
TEXT = TextTransformerConfig(vocabulary=11, length=7, width=20, layers=2, heads=5)
TOKENS = torch.tensor([[1, 5, 7, 2, 0, 0], [1, 9, 2, 0, 0, 0], [1, 3, 4, 6, 8, 2]])


def clip(tower="vit", text=TEXT, **rest):
    torch.manual_seed(0)
    return CLIP(CLIPConfig(TOWERS[tower], text, dim=9, **rest)).eval()


def pictures(tower, n=3):
    size = TOWERS[tower].size
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("tower", TOWERS)
@pytest.mark.parametrize("text", (TEXT, CBOWConfig(vocabulary=11, width=14)), ids=("transformer", "cbow"))
def test_embeddings_are_unit_vectors_and_steady(tower, text):
    model, x = clip(tower, text), pictures(tower)
    images, texts, scale = model(x, TOKENS)
    assert images.shape == texts.shape == (3, 9) and scale.shape == ()
    torch.testing.assert_close(images.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(texts.norm(dim=1), torch.ones(3))
    assert math.isclose(scale.item(), 1 / 0.07, rel_tol=1e-5)
    again = model(x, TOKENS)
    assert torch.equal(images, again[0]) and torch.equal(texts, again[1])
    torch.testing.assert_close(model.encode_image(x[1:2]), images[1:2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tower", TOWERS)
def test_patches_have_a_place_each(tower):
    model = clip(tower)
    found = model.encode_patches(pictures(tower))
    sides = {"vit": 3, "resnet": 8, "efficientnet": 4}
    assert found.shape == (3, sides[tower] ** 2, 9)
    torch.testing.assert_close(found.norm(dim=2), torch.ones(found.shape[:2]))


@pytest.mark.parametrize("tower", TOWERS)
def test_gradients_reach_every_weight(tower):
    model = clip(tower).train()
    images, texts, scale = model(pictures(tower), TOKENS)
    (scale * images @ texts.T).square().sum().backward()
    assert [k for k, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_a_token_hears_only_those_before_it():
    tower = TextTransformer(TEXT).eval()
    changed = TOKENS.clone()
    changed[:, 3] = 10
    before, after = tower.tokens(TOKENS), tower.tokens(changed)
    torch.testing.assert_close(before[:, :3], after[:, :3])
    assert not torch.allclose(before[:, 4], after[:, 4])


def test_padding_is_never_heard():
    tower = TextTransformer(TEXT).eval()
    longer = F.pad(TOKENS, (0, 1), value=8)  # any token: it stands behind the end
    torch.testing.assert_close(tower(TOKENS), tower(longer))
    bag = CBOW(CBOWConfig(vocabulary=11, width=6))
    torch.testing.assert_close(bag(TOKENS), bag(longer))


def test_a_text_is_read_at_its_first_end():
    tower = TextTransformer(TEXT).eval()
    torch.testing.assert_close(tower(TOKENS), tower.tokens(TOKENS)[torch.arange(3), torch.tensor([3, 2, 5])])
    assert end_of_text(torch.tensor([[1, 2, 5, 2]]), 2).tolist() == [1]
    with pytest.raises(ValueError, match="end-of-text token 2 in every row; row 1 has none"):
        tower(torch.tensor([[1, 2, 0], [1, 5, 5]]))


def test_a_bag_of_words_knows_no_order():
    bag = CBOW(CBOWConfig(vocabulary=11, width=6))
    swapped = TOKENS[2:].clone()
    swapped[0, 1:5] = swapped[0, [4, 3, 2, 1]]
    torch.testing.assert_close(bag(TOKENS[2:]), bag(swapped))
    tower = TextTransformer(TEXT).eval()
    assert not torch.allclose(tower(TOKENS[2:]), tower(swapped))


def test_cbow_is_the_mean_up_to_the_end():
    bag = CBOW(CBOWConfig(vocabulary=11, width=6))
    torch.testing.assert_close(bag(TOKENS)[1], bag.embed.weight[[1, 9, 2]].mean(0))


@pytest.mark.parametrize("activation", ("gelu", "quick_gelu"))
@pytest.mark.parametrize("causal", (False, True))
def test_block_equals_pytorchs(activation, causal):
    ours = TransformerBlock(12, 3, activation).double().eval()
    theirs = torch.nn.TransformerEncoderLayer(
        12, 3, 48, dropout=0.0, batch_first=True, norm_first=True, dtype=torch.float64,
        activation=quick_gelu if activation == "quick_gelu" else F.gelu,
    ).eval()  # fmt: skip
    pairs = {
        "self_attn.in_proj_weight": "qkv.weight", "self_attn.in_proj_bias": "qkv.bias", "norm1": "norm1",
        "self_attn.out_proj": "proj", "linear1": "up", "linear2": "down", "norm2": "norm2",
    }  # fmt: skip
    state = theirs.state_dict()
    ours.load_state_dict({
        new + k[len(old) :]: v for k, v in state.items() for old, new in pairs.items() if k.startswith(old)
    })  # fmt: skip
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    mask = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1) if causal else None
    torch.testing.assert_close(ours(x, causal), theirs(x, src_mask=mask))


def test_attention_pool_of_equal_places_is_their_value():
    pool = AttentionPool(3, 8, 2)
    torch.nn.init.zeros_(pool.position)
    x = torch.randn(2, 8, 1, 1)
    torch.testing.assert_close(pool(x.expand(2, 8, 3, 3)), pool.value(x.flatten(1)))


def test_efficientnet_is_torchvisions():
    from torchvision.models import efficientnet_b0

    model = EfficientNet(EfficientNetConfig(size=64, scale=1.0, stages=7, stem=2, width=1280)).eval()
    reference = efficientnet_b0().eval()
    model.features.load_state_dict(reference.features.state_dict())
    x = torch.randn(2, 3, 64, 64)
    want = reference.avgpool(reference.features(x)).flatten(1)
    torch.testing.assert_close(model(x), want)


def test_temperature_is_clamped():
    model = clip()
    for value, kept in ((9.0, math.log(100)), (-1.0, 0.0), (3.0, 3.0)):
        model.logit_scale.data.fill_(value)
        clamp_logit_scale(model)
        assert math.isclose(model.logit_scale.item(), kept, rel_tol=1e-6)


def test_temperature_gains_and_biases_do_not_decay():
    model = clip()
    decayed, others = parameter_groups(model, 0.2)
    assert decayed["weight_decay"] == 0.2 and others["weight_decay"] == 0
    names = {id(p): k for k, p in model.named_parameters()}
    assert "logit_scale" in {names[id(p)] for p in others["params"]}
    assert all(p.ndim == 1 or p.ndim == 0 for p in others["params"])
    assert len(decayed["params"]) + len(others["params"]) == len(names)


@pytest.mark.parametrize("tower", TOWERS)
def test_saved_and_loaded(tower, tmp_path):
    model, x = clip(tower), pictures(tower)
    loaded = pretrained.save("a-clip", model, {}, folder=tmp_path).model
    assert loaded.config == model.config
    torch.testing.assert_close(loaded.encode_image(x), model.encode_image(x), rtol=0.02, atol=0.02)  # float16


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: VConfig(patch=5), "patch must divide size; got 5 and 32"),
        (lambda: VConfig(heads=3), "heads must divide width; got 3 and 128"),
        (lambda: VConfig(activation="relu"), "activation must be one of gelu, quick_gelu; got 'relu'"),
        (lambda: ResNetConfig(size=30), "size a multiple of 4; got 1 and 30"),
        (lambda: ResNetConfig(stem=3), "stem must be 1, 2 or 4"),
        (lambda: EfficientNetConfig(stages=8), "stages at most 7"),
        (lambda: TextTransformerConfig(length=1), "length must be an integer of at least 2"),
        (lambda: CLIPConfig(image=TEXT), "image must be one of ViTConfig, ResNetConfig, EfficientNetConfig"),
        (lambda: CLIPConfig(text={"width": 3}), "text must be one of CBOWConfig, TextTransformerConfig"),
        (lambda: CLIPConfig(dim=0), "dim must be"),
        (lambda: ViT(TOWERS["vit"])(torch.zeros(2, 3, 12, 8)), r"x must be \[B,3,12,12\]; got \[2, 3, 12, 8\]"),
        (lambda: ResNet(TOWERS["resnet"])(torch.zeros(2, 1, 16, 16)), r"x must be \[B,3,16,16\]"),
        (lambda: EfficientNet(TOWERS["efficientnet"])(torch.zeros(2, 3, 8, 8)), r"x must be \[B,3,16,16\]"),
        (lambda: TextTransformer(TEXT)(torch.full((1, 8), 2)), r"tokens must be \[B,L\] with L of at most 7"),
    ],
)
def test_what_is_wrong_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def reference(name, **options):
    """One of open_clip's models with random weights, its statistics and gains no longer those of the start."""
    open_clip = pytest.importorskip("open_clip")
    logging.disable(logging.WARNING)
    torch.manual_seed(0)
    model = open_clip.create_model(name, **options)
    logging.disable(logging.NOTSET)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.02 * torch.randn_like(p))
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    return model.eval()


@pytest.mark.parametrize("name", ("ViT-B-32", "ViT-B-32-quickgelu", "RN50"))
@torch.no_grad()
def test_features_equal_open_clips(name):
    theirs = reference(name)
    ours = CLIP.from_open_clip(theirs)
    quick = name.endswith("quickgelu")
    assert ours.config.text.activation == ("quick_gelu" if quick else "gelu")
    x, tokens = torch.randn(2, 3, 224, 224), torch.randint(1, 49406, (2, 77))
    tokens[0, 9], tokens[1, 40] = 49407, 49407  # the ends
    assert (ours.encode_image(x) - theirs.encode_image(x, normalize=True)).abs().max() < 1e-5
    assert (ours.encode_text(tokens) - theirs.encode_text(tokens, normalize=True)).abs().max() < 1e-5
    torch.testing.assert_close(ours.logit_scale, theirs.logit_scale)


@pytest.mark.slow
@torch.no_grad()
def test_features_equal_open_clips_for_vit_l_14():
    theirs = reference("ViT-L-14")
    ours = CLIP.from_open_clip(theirs)
    x = torch.randn(1, 3, 224, 224)
    assert (ours.encode_image(x) - theirs.encode_image(x, normalize=True)).abs().max() < 1e-5
    tokens = torch.randint(1, 49406, (1, 77))
    tokens[0, 20] = 49407
    assert (ours.encode_text(tokens) - theirs.encode_text(tokens, normalize=True)).abs().max() < 1e-5


@torch.no_grad()
def test_parts_without_a_place_are_named():
    theirs = reference("ViT-B-32")
    theirs.visual.attn_pool = torch.nn.Linear(3, 3)
    with pytest.raises(ValueError, match=r"no place for: \['visual.attn_pool.weight'"):
        CLIP.from_open_clip(theirs)
    del theirs.visual.attn_pool
    theirs.ln_final = torch.nn.Identity()
    with pytest.raises(ValueError, match="model lacks weights that CLIP has: .*norm_out"):
        CLIP.from_open_clip(theirs)


def test_config_from_json_is_the_same():
    from dataclasses import asdict

    for tower in TOWERS.values():
        config = CLIPConfig(tower, replace(TEXT, activation="quick_gelu"), dim=5, image_bias=True)
        assert CLIPConfig(**asdict(config)) == config


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A tiny architecture that open_clip lists with a tag which wants QuickGELU, and where the cache would have it."""
    import json

    import huggingface_hub

    open_clip = pytest.importorskip("open_clip")
    tower = {"width": 32, "layers": 1, "head_width": 16}
    config = {"embed_dim": 16, "vision_cfg": {"image_size": 16, "patch_size": 8, **tower},
              "text_cfg": {"context_length": 8, "vocab_size": 50, "width": 32, "heads": 2, "layers": 1}}  # fmt: skip
    path = tmp_path / "tiny-clip.json"
    path.write_text(json.dumps(config))
    open_clip.add_model_config(path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    tag = {"hf_hub": "some/tiny-clip/", "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.1), "quick_gelu": True}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-clip", {"openai": tag})
    revision, place = "0" * 40, tmp_path / "hub" / "models--some--tiny-clip"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(revision)
    yield place / "snapshots" / revision / "open_clip_model.safetensors"
    open_clip.factory._MODEL_CONFIGS.pop("tiny-clip")
    open_clip.factory._MODEL_CONFIG_PATHS.remove(path)


def write_weights(path):
    from safetensors.torch import save_file

    model = reference("tiny-clip", force_quick_gelu=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), path)
    return model


@torch.no_grad()
def test_by_name_it_obeys_the_tags_activation(published, monkeypatch):
    monkeypatch.setattr("minidiff.data.hub.reachable", lambda hosts: False)  # the cache comes first
    theirs = write_weights(published)
    ours = CLIP.from_open_clip("tiny-clip", "openai")
    assert ours.config.text.activation == ours.config.image.activation == "quick_gelu"
    x = torch.randn(2, 3, 16, 16)
    tokens = torch.tensor([[1, 5, 49, 0, 0, 0, 0, 0], [1, 7, 8, 9, 3, 2, 6, 49]])
    torch.testing.assert_close(ours.encode_image(x), theirs.encode_image(x, normalize=True))
    torch.testing.assert_close(ours.encode_text(tokens), theirs.encode_text(tokens, normalize=True))


def test_weights_that_are_not_there_are_downloaded(published, monkeypatch, tmp_path):
    import open_clip.pretrained

    asked = []

    def download(known):
        asked.append(known["hf_hub"])
        write_weights(tmp_path / "fetched.safetensors")
        return str(tmp_path / "fetched.safetensors")

    monkeypatch.setattr("minidiff.data.hub.reachable", lambda hosts: True)
    monkeypatch.setattr(open_clip.pretrained, "download_pretrained", download)
    assert CLIP.from_open_clip("tiny-clip", "openai").config.dim == 16
    assert asked == ["some/tiny-clip/"]


def test_offline_it_says_what_is_missing_at_once(published, monkeypatch):
    monkeypatch.setattr("minidiff.data.hub.reachable", lambda hosts: time.sleep(1.5))
    began = time.monotonic()
    with pytest.raises(
        WeightsUnavailable, match="weights of tiny-clip/openai are not in .*hub, and .* cannot be reached"
    ):
        CLIP.from_open_clip("tiny-clip", "openai")
    assert time.monotonic() - began < 2


def test_a_name_needs_a_tag_and_a_model_none(published):
    with pytest.raises(ValueError, match="pretrained must be given with a name and left out with a model; got None"):
        CLIP.from_open_clip("ViT-B-32")
    with pytest.raises(ValueError, match="got 'openai' with Linear"):
        CLIP.from_open_clip(torch.nn.Linear(1, 1), "openai")
    with pytest.raises(ValueError, match="must be MODEL/TAG as open_clip lists them; got 'tiny-clip/nope'"):
        CLIP.from_open_clip("tiny-clip", "nope")
