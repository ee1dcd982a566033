"""The moving average."""

import pytest
import torch
from torch import nn

from minidiff.training import EMA


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def step(net, seed):
    """Moves every parameter, and the buffers with a forward pass."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(torch.randn(p.shape, generator=rng))
    net.train()(torch.randn(5, 3, generator=rng))


def test_average_with_warm_up():
    net = model()
    ema = EMA(net, decay=0.25)
    averages = {k: p.detach().double() for k, p in net.named_parameters()}
    for n in range(1, 8):
        step(net, n)
        ema.update(net)
        decay = min(0.25, (1 + n) / (10 + n))  # 2/11, 3/12 = 0.25, and from then on 0.25
        for k, p in net.named_parameters():
            averages[k] = decay * averages[k] + (1 - decay) * p.detach().double()
        assert ema.updates == n
        for k, p in ema.model.named_parameters():
            torch.testing.assert_close(p.double(), averages[k], rtol=1e-5, atol=1e-6)


def test_buffers_are_copied():
    net = model()
    ema = EMA(net, decay=0.9)
    for n in range(3):
        step(net, n)
        ema.update(net)
    assert net[1].num_batches_tracked == 3
    for (name, average), buffer in zip(ema.model.named_buffers(), net.buffers(), strict=True):
        assert torch.equal(average, buffer) and average.data_ptr() != buffer.data_ptr(), name
    assert not torch.equal(ema.model[0].weight, net[0].weight)


def test_the_average_is_a_frozen_copy_in_eval_mode():
    net = model().train()
    before = net[0].weight.detach().clone()
    ema = EMA(net)
    assert net.training and not ema.model.training
    assert not any(p.requires_grad for p in ema.model.parameters()) and all(p.requires_grad for p in net.parameters())
    step(net, 1)
    assert torch.equal(ema.model[0].weight, before)  # nothing is shared


def test_decay_0_is_the_model_itself():
    net = model()
    ema = EMA(net, decay=0.0)
    step(net, 1)
    ema.update(net)
    torch.testing.assert_close(ema.model[0].weight, net[0].weight, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("decay", [-0.1, 1.0, 2.0])
def test_decays_outside_0_to_1_are_refused(decay):
    with pytest.raises(ValueError, match=rf"decay must lie in \[0, 1\); got {decay}"):
        EMA(model(), decay)


def test_memory_formats_are_kept():
    net = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    ema = EMA(net)
    ema.update(net)
    assert ema.model.weight.is_contiguous(memory_format=torch.channels_last)
