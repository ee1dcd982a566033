"""Models that predict captions: shapes, causality, likelihoods that sum to one, and a caption learned by heart."""

import itertools
import math
from dataclasses import asdict

import pytest
import torch

from minidiff.models.captioner import Captioner, CaptionerConfig, WordPredictor, WordPredictorConfig, log_likelihood
from minidiff.models.image_encoders import ResNetConfig, ViTConfig
from minidiff.models.text_encoders import TextTransformerConfig
from minidiff.objectives import CaptionLoss, WordsLoss, bag_of_words
from minidiff.training import Turn, run

IMAGE = ViTConfig(size=8, patch=4, width=12, layers=1, heads=3)
TEXT = TextTransformerConfig(vocabulary=7, length=5, width=8, layers=1, heads=2)


@pytest.mark.parametrize("image", (IMAGE, ResNetConfig(size=8, base=4, blocks=(1,), heads=2)))
def test_shapes(image):
    x, tokens = torch.randn(3, 3, 8, 8), torch.tensor([[1, 4, 5, 2]] * 3)
    assert WordPredictor(WordPredictorConfig(image, 11))(x).shape == (3, 11)
    assert Captioner(CaptionerConfig(image, TEXT))(x, tokens).shape == (3, 4, 7)


def test_configs_survive_json():
    for config in (WordPredictorConfig(IMAGE, 11), CaptionerConfig(IMAGE, TEXT)):
        assert type(config)(**asdict(config)) == config
    with pytest.raises(ValueError, match="outputs must be an integer of at least 1; got 0"):
        WordPredictorConfig(IMAGE, 0)
    with pytest.raises(ValueError, match="image must be one of"):
        CaptionerConfig(image={"size": 3})


def test_a_word_hears_the_picture_and_the_words_before_it_only():
    model = Captioner(CaptionerConfig(IMAGE, TEXT)).eval()
    x, tokens = torch.randn(1, 3, 8, 8), torch.tensor([[1, 4, 5, 2]])
    before = model(x, tokens)
    later = model(x, torch.tensor([[1, 4, 6, 2]]))
    torch.testing.assert_close(before[:, :2], later[:, :2])
    assert not torch.allclose(before[:, 2], later[:, 2])
    assert not torch.allclose(before[:, 0], model(x + 1, tokens)[:, 0])


def test_likelihoods_of_all_captions_sum_to_one():
    """Of every caption of at most two words, and of all longer ones together: what is left for them."""
    model = Captioner(CaptionerConfig(IMAGE, TEXT)).double().eval()
    told = torch.randn(1, 8, dtype=torch.float64)

    def total(length, ended):
        rows = [[1, *words, *([2] if ended else [])] for words in itertools.product((0, 1, 3, 4, 5, 6), repeat=length)]
        tokens = torch.tensor([[*row, *([2] * (not ended))] for row in rows])
        logits = model.write(told.expand(len(tokens), -1), tokens)
        if ended:
            return log_likelihood(logits, tokens, end=2).exp().sum().item()
        each = logits[:, :-1].log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]  # the words, without the end
        return each[:, :length].sum(1).exp().sum().item()

    assert sum(total(n, True) for n in range(3)) + total(3, False) == pytest.approx(1)


def test_padding_does_not_count():
    logits = torch.randn(2, 5, 7)
    short = torch.tensor([[1, 4, 2]] * 2)
    padded = torch.tensor([[1, 4, 2, 0, 0], [1, 4, 2, 5, 2]])
    torch.testing.assert_close(log_likelihood(logits, padded, 2), log_likelihood(logits[:, :3], short, 2))


def test_words_loss_is_the_cross_entropy_of_the_words():
    tokens = torch.tensor([[1, 4, 5, 4, 2, 0], [1, 3, 2, 0, 0, 0]])
    assert bag_of_words(tokens, 7).tolist() == [[0, 0, 0, 0, 1, 1, 0], [0, 0, 0, 1, 0, 0, 0]]
    logits = torch.randn(2, 7)
    p = logits.softmax(1)
    want = -(0.5 * p[0, 4].log() + 0.5 * p[0, 5].log() + p[1, 3].log()) / 2
    loss, logs = WordsLoss()(lambda x: logits, {"x": torch.zeros(2), "tokens": tokens})
    torch.testing.assert_close(loss, want)
    assert logs["loss"] == loss


def test_caption_loss_is_a_mean_over_tokens():
    tokens = torch.tensor([[1, 4, 5, 2], [1, 2, 0, 0]])  # three tokens to predict, and one
    loss, _ = CaptionLoss()(lambda x, tokens: torch.zeros(2, 4, 7), {"x": torch.zeros(2), "tokens": tokens})
    assert loss.item() == pytest.approx(math.log(7))


def test_it_learns_which_caption_goes_with_which_picture():
    torch.manual_seed(0)
    batch = {"x": torch.randn(4, 3, 8, 8), "tokens": torch.tensor([[1, 3 + i, 3 + (i + 1) % 4, 2] for i in range(4)])}

    class Loader:
        def from_step(self, step):
            return itertools.repeat(batch)

    model = Captioner(CaptionerConfig(IMAGE, TEXT))
    run([Turn(model, CaptionLoss(), torch.optim.AdamW(model.parameters(), 1e-2))], Loader(), 150, progress=False)
    with torch.no_grad():
        logits = [model.eval()(x.expand(4, -1, -1, -1), batch["tokens"]) for x in batch["x"]]
    table = torch.stack([log_likelihood(each, batch["tokens"], 2) for each in logits])  # [pictures, captions]
    assert table.argmax(1).tolist() == [0, 1, 2, 3]
