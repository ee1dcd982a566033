"""The vector-quantised autoencoder, the critic of patches, and patches of autoencoders."""

import dataclasses
import json

import pytest
import torch

from minidiff.models.autoencoder import Autoencoder, AutoencoderConfig
from minidiff.models.patch_critic import PatchCritic, PatchCriticConfig
from minidiff.models.vq_autoencoder import VQAutoencoder, VQAutoencoderConfig

BODY = AutoencoderConfig(channels=2, latent=3, width=8, mults=(1, 2), groups=4, attention=False)


def test_a_patch_of_two_halves_the_maps_and_keeps_the_pictures_size():
    plain, folded = (dataclasses.replace(BODY, patch=p) for p in (1, 2))
    assert (plain.factor, folded.factor) == (2, 4)
    x = torch.randn(2, 2, 12, 8)
    out, mean, _ = Autoencoder(folded)(x)
    assert out.shape == x.shape and mean.shape == (2, 3, 3, 2)
    with pytest.raises(ValueError, match="multiples of 4"):
        Autoencoder(folded)(torch.randn(2, 2, 6, 8))
    with pytest.raises(ValueError, match="patch must be an integer of at least 1; got 0"):
        dataclasses.replace(BODY, patch=0)


def test_codes_say_all_that_the_decoder_hears():
    torch.manual_seed(0)
    model = VQAutoencoder(VQAutoencoderConfig(BODY, codes=11)).eval()
    x = torch.randn(5, 2, 6, 4)
    out, found = model(x)
    assert out.shape == x.shape and found.codes.shape == (5, 3, 2) and found.codes.max() < 11
    torch.testing.assert_close(model.pictures(found.codes), out)


def test_the_gradient_goes_through_the_list_to_the_encoder():
    torch.manual_seed(0)
    model = VQAutoencoder(VQAutoencoderConfig(BODY, codes=7))
    out, _ = model(torch.randn(3, 2, 4, 4))
    out.square().sum().backward()
    assert model.encoder.conv_in.weight.grad.abs().max() > 0
    assert model.quantiser.table.weight.grad is None or model.quantiser.table.weight.grad.abs().max() == 0


def test_a_config_survives_json():
    config = VQAutoencoderConfig(BODY, codes=5)
    assert VQAutoencoderConfig(**json.loads(json.dumps(dataclasses.asdict(config)))) == config
    with pytest.raises(ValueError, match="codes must be an integer of at least 1; got 0"):
        VQAutoencoderConfig(BODY, codes=0)


@pytest.mark.parametrize("halvings", (1, 2, 3))
def test_a_logit_sees_its_field_and_no_more(halvings):
    torch.manual_seed(0)
    config = PatchCriticConfig(channels=2, width=4, halvings=halvings)
    model = PatchCritic(config).double()
    x = torch.randn(1, 2, 64, 64, dtype=torch.float64, requires_grad=True)
    logits = model(x)
    assert logits.shape == (1, 64 // 2**halvings, 64 // 2**halvings)
    at = logits.shape[1] // 2
    (grad,) = torch.autograd.grad(logits[0, at, at], x)
    rows = grad[0].abs().amax((0, 2)).nonzero().flatten()
    assert (rows.max() - rows.min() + 1).item() == config.field


def test_a_critics_bad_config_is_named():
    with pytest.raises(ValueError, match="halvings must be an integer of at least 1; got 0"):
        PatchCriticConfig(halvings=0)
