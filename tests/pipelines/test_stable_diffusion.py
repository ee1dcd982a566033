"""The system of three parts, with stand-ins that were never trained."""

import json

import pytest
import torch

from minidiff.data import WordTokenizer
from minidiff.models.autoencoder import Autoencoder, AutoencoderConfig
from minidiff.models.clip import CLIP, CLIPConfig
from minidiff.models.image_encoders import ViTConfig
from minidiff.models.text_encoders import CBOWConfig, TextTransformerConfig
from minidiff.models.unet import UNet, UNetConfig
from minidiff.pipelines import StableDiffusion, load
from minidiff.pipelines.stable_diffusion import Options

WORDS, LENGTH, WIDTH, SIDE = ("a", "blue", "circle", "red", "star"), 9, 12, 4
VIT = ViTConfig(size=8, width=8, layers=1, heads=1)


def texts(kind):
    if kind == "bag":
        return CBOWConfig(vocabulary=9, width=WIDTH)
    return TextTransformerConfig(vocabulary=9, length=LENGTH, width=WIDTH, layers=1, heads=2)


def system(kind="transformer"):
    torch.manual_seed(0)
    unet = UNet(UNetConfig(channels=3, width=8, mults=(1, 2), blocks=1, head_dim=4, attention=(1,), text=WIDTH))
    for parameter in unet.parameters():  # the zero-initialised layers too, so that the caption matters
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    autoencoder = Autoencoder(AutoencoderConfig(latent=3, width=8, mults=(1, 2), groups=4, attention=False))
    autoencoder.scale.fill_(0.5)
    parts = [CLIP(CLIPConfig(VIT, texts(kind), dim=5)).eval(), unet.eval(), autoencoder.eval()]
    return StableDiffusion(WordTokenizer(WORDS, LENGTH), *parts, Options(side=SIDE, steps=3))


PROMPTS = ["a red circle", "a blue star", "a star"]


@pytest.mark.parametrize("kind", ("transformer", "bag"))
def test_captions_become_pictures(kind):
    pictures = system(kind)(PROMPTS)
    assert pictures.shape == (3, 3, 8, 8) and pictures.abs().max() <= 1 and not pictures.requires_grad


def test_the_boxes_one_by_one_are_the_whole():
    pipe = system()
    text = pipe.read(PROMPTS)
    assert text["text"].shape == (3, LENGTH, WIDTH) and text["mask"].sum(1).tolist() == [5, 5, 4]
    z = pipe.draw(text, seeds=[4, 5, 6])
    assert z.shape == (3, 3, SIDE, SIDE)
    torch.testing.assert_close(pipe.decode(z), pipe(PROMPTS, seeds=[4, 5, 6]))


def test_a_seed_gives_its_picture_alone_or_in_a_batch():
    pipe = system()
    whole = pipe(PROMPTS, seeds=[7, 8, 9])
    for i in range(3):
        alone = pipe([PROMPTS[i]], seeds=[7 + i])
        torch.testing.assert_close(alone[0], whole[i], atol=1 / 255, rtol=0)
    assert not torch.allclose(whole[0], pipe(PROMPTS[:1], seeds=[1])[0], atol=0.05)


def test_caption_and_scale_matter():
    pipe = system()
    one, other = (pipe.draw(pipe.read([prompt]), seeds=[3]) for prompt in PROMPTS[:2])
    assert not torch.allclose(one, other, atol=1e-3)
    strong = pipe.draw(pipe.read(PROMPTS[:1]), seeds=[3], scale=9.0)
    assert not torch.allclose(one, strong, atol=1e-3)
    null = pipe.draw(pipe.read([""]), seeds=[3], scale=1.0)
    torch.testing.assert_close(pipe.draw(pipe.read(PROMPTS[:1]), seeds=[3], scale=0.0), null, atol=1e-4, rtol=1e-4)


def test_words_order_matters_to_a_transformer():
    pipe = system()
    first, second = pipe.read(["a red star", "star a red"])["text"]
    assert not torch.allclose(first, second)


def test_a_saved_system_draws_the_same(tmp_path):
    pipe = system()
    pipe.save(tmp_path)
    again = StableDiffusion.from_pretrained(tmp_path)
    assert again.options == pipe.options and again.tokenizer.words == pipe.tokenizer.words
    (tmp_path / "b").mkdir()
    again.save(tmp_path / "b")
    twice = StableDiffusion.from_pretrained(tmp_path / "b")
    assert torch.equal(again(PROMPTS), twice(PROMPTS))
    torch.testing.assert_close(again(PROMPTS), pipe(PROMPTS), atol=0.02, rtol=0)  # weights are kept in float16
    assert torch.equal(load(tmp_path)(PROMPTS), again(PROMPTS))


def test_parts_can_be_exchanged(tmp_path):
    pipe = system()
    pipe.clip = system("bag").clip
    assert pipe(PROMPTS).shape == (3, 3, 8, 8)


@pytest.mark.parametrize(
    "act, message",
    [
        (lambda pipe, path: pipe([]), "prompts must be a list of at least one caption"),
        (lambda pipe, path: pipe("a star"), "prompts must be a list"),
        (lambda pipe, path: pipe(PROMPTS, seeds=[1]), "seeds must be one for each of the 3 prompts; got 1"),
        (lambda pipe, path: pipe(["a red circel"]), "'circel' .the nearest it knows: circle."),
        (lambda pipe, path: pipe(["a zzz"]), "'zzz' .none is near"),
        (lambda pipe, path: pipe([3]), "texts must be strings"),
        (lambda pipe, path: pipe(PROMPTS, steps=0), "steps"),
        (lambda pipe, path: StableDiffusion.from_pretrained(path), "a folder with stable-diffusion.json"),
        (lambda pipe, path: load(path), "system must be one of stable-diffusion, or a folder"),
        (lambda pipe, path: load("dream"), "got dream"),
    ],
)
def test_bad_arguments_are_named(act, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        act(system(), tmp_path)


def test_a_missing_part_is_named(tmp_path):
    system().save(tmp_path)
    content = json.loads((tmp_path / "stable-diffusion.json").read_text())
    content["parts"]["unet"] = "another"
    (tmp_path / "stable-diffusion.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="name must be one of"):
        StableDiffusion.from_pretrained(tmp_path)


@pytest.mark.parametrize("content", ("{", "[]", '{"parts": {}}', '{"parts": {}, "tokenizer": {"words": ["a"]}}'))
def test_a_damaged_description_is_named(content, tmp_path):
    (tmp_path / "stable-diffusion.json").write_text(content)
    with pytest.raises(ValueError, match="stable-diffusion.json in .* is damaged"):
        load(tmp_path)


def test_a_trajectory_ends_where_draw_does():
    pipe = system()
    text = pipe.read(PROMPTS)
    steps = list(pipe.trajectory(text, steps=5, seeds=[1, 2, 3], scale=2.0))
    assert len(steps) == 5 and steps[-1].t == 0
    assert torch.equal(steps[-1].x, pipe.draw(text, steps=5, seeds=[1, 2, 3], scale=2.0))
    assert not torch.equal(steps[0].x, steps[1].x)
