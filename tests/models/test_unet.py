"""The U-Net and its parts: shapes, conditions, gradients, and what must not change the output."""

import json
import math
from dataclasses import asdict

import pytest
import torch
from torch import nn

from minidiff.models.layers import Attention, Downsample, ResBlock, Upsample, group_norm, timestep_embedding
from minidiff.models.unet import UNet, UNetConfig

B, C, H, W = 2, 3, 8, 12
TINY = {"channels": C, "width": 8, "mults": (1, 2), "blocks": 1, "head_dim": 4}
KINDS = {
    "plain": {},
    "attention": {"attention": (0, 1)},
    "three resolutions": {"mults": (1, 2, 3), "blocks": 2},
    "patch 2": {"patch": 2},
    "dropout": {"dropout": 0.5},
    "learned variance": {"learned_var": True},
    "classes": {"classes": 5},
    "text": {"text": 7, "attention": (1,)},
    "image embedding": {"image_emb": 11},
    "low": {"low": 2},
    "low of the same kind": {"low": C},
    "everything": {"classes": 5, "text": 7, "image_emb": 11, "low": 2, "learned_var": True, "patch": 2},
}


def build(kind="plain", seed=0, **more):
    """A tiny U-Net none of whose weights is 0, in eval mode."""
    config = UNetConfig(**{**TINY, **KINDS[kind], **more})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = UNet(config).eval()
        for p in model.parameters():
            if p.count_nonzero() == 0:
                nn.init.normal_(p, std=0.2)
    return model


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def inputs(config, batch=B, seed=0):
    """(x_t, t, conditions) with pairwise different sizes."""
    x, t = normal(batch, config.channels, H, W, seed=seed), torch.tensor([3, 700, 41])[:batch]
    cond = {}
    if config.classes:
        cond["y"] = torch.tensor([4, config.classes, 0])[:batch]
    if config.text:
        cond["text"] = normal(batch, 6, config.text, seed=seed + 1)
        cond["mask"] = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]])[:batch].bool()
    if config.image_emb:
        cond["image_emb"] = normal(batch, config.image_emb, seed=seed + 2)
    if config.low:
        cond["low"], cond["low_t"] = normal(batch, config.low, 4, 5, seed=seed + 3), torch.tensor([9, 1, 60])[:batch]
    return x, t, cond


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


# Shapes


def test_output_shape(kind):
    model = build(kind)
    x, t, cond = inputs(model.config)
    with torch.no_grad():
        out = model(x, t, **cond)
    assert out.shape == (B, 2 * C if model.config.learned_var else C, H, W)
    assert out.dtype == torch.float32 and bool(out.isfinite().all()) and out.std() > 0


@pytest.mark.parametrize(("patch", "mults", "multiple"), [(1, (1,), 1), (1, (1, 2), 2), (2, (1, 2), 4), (4, (1,), 4)])
def test_sizes_must_be_multiples(patch, mults, multiple):
    model = build(patch=patch, mults=mults)
    assert model.config.multiple == multiple
    t = torch.tensor([5])
    for height, width in ((4, 8), (8, 4), (12, 8)):
        assert model(normal(1, C, height, width), t).shape == (1, C, height, width)
    if multiple > 1:
        for height, width in ((multiple + 1, 8), (8, multiple + 1)):
            with pytest.raises(ValueError, match=rf"x_t must be \[B, 3, H, W\] with H and W multiples of {multiple}"):
                model(normal(1, C, height, width), t)


@pytest.mark.parametrize("shape", [(1, C + 1, H, W), (C, H, W), (1, C, H), (1, 1, C, H, W)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"x_t must be .* got \["):
        build()(torch.zeros(shape), torch.tensor([5]))


def test_a_patch_is_a_fold_into_channels():
    """A U-Net with patches is the plain one on the folded picture, channels for pixels."""
    patched, plain = build(patch=2), build(channels=4 * C)
    state = patched.state_dict()
    for name in ("last.weight", "last.bias"):  # one share of x_t for each channel, which four pixels have in common
        norm, through = state[name].split([2 * patched.config.width, C])
        state[name] = torch.cat([norm, through.repeat_interleave(4, dim=0)])
    plain.load_state_dict(state)
    x, t = normal(B, C, H, W), torch.tensor([5, 600])
    folded = torch.nn.functional.pixel_unshuffle(x, 2)
    assert folded.shape == (B, 4 * C, H // 2, W // 2)
    out = torch.nn.functional.pixel_shuffle(plain(folded, t), 2)
    torch.testing.assert_close(patched(x, t), out)


def test_a_new_network_predicts_0():
    """The head starts at 0, so training starts from the best constant guess of eps."""
    torch.manual_seed(0)
    model = UNet(UNetConfig(**TINY))
    assert model(normal(B, C, H, W), torch.tensor([1, 9])).count_nonzero() == 0


@pytest.mark.parametrize("kind", ["plain", "learned variance", "low", "patch 2"])
def test_a_share_of_x_t_passes_straight_through(kind):
    """With nothing but the bias of the last layer, the output is that share of x_t, channel by channel."""
    model = build(kind)
    nn.init.zeros_(model.head.weight)
    nn.init.zeros_(model.head.bias)
    nn.init.zeros_(model.last.weight)
    x, t, cond = inputs(model.config)
    outs = 2 * C if model.config.learned_var else C
    share = model.last.bias[2 * model.config.width :]
    assert len(share) == outs and share.unique().numel() == outs
    expected = torch.cat([x] * (outs // C), dim=1) * share[:, None, None]
    torch.testing.assert_close(model(x, t, **cond), expected)


def test_the_last_norm_is_scaled_and_shifted_by_the_level():
    model = build()
    w, seen = model.config.width, {}
    model.norm.register_forward_hook(lambda m, args, out: seen.update(norm=out))
    model.last.register_forward_hook(lambda m, args, out: seen.update(last=out))
    model.head.register_forward_pre_hook(lambda m, args: seen.update(head=args[0]))
    model(*inputs(model.config)[:2])
    scale, shift = seen["last"][:, :w, None, None], seen["last"][:, w : 2 * w, None, None]
    torch.testing.assert_close(seen["head"], nn.functional.silu(seen["norm"] * (1 + scale) + shift))


def test_new_branches_are_the_identity():
    x, emb = normal(2, 12, 3, 2), normal(2, 5, seed=1)
    assert torch.equal(ResBlock(12, 12, 5)(x, emb), x) and torch.equal(Attention(12, head_dim=4)(x), x)


@pytest.mark.parametrize("mults", [(1,), (1, 2), (1, 2, 3)])
@pytest.mark.parametrize("blocks", [1, 2])
def test_the_way_up_sees_every_output_of_the_way_down_last_first(mults, blocks):
    model = build(mults=mults, blocks=blocks)
    down, up = [], []
    for layer in (model.stem, *model.down):
        layer.register_forward_hook(lambda layer, args, out: down.append(out))
    for layer in model.up:
        layer.register_forward_pre_hook(lambda layer, args: up.append(args[0]))
    model(normal(1, C, H, W), torch.tensor([5]))
    assert len(up) == len(down) == 1 + len(mults) * blocks + len(mults) - 1
    for skip, seen in zip(reversed(down), up, strict=True):
        assert torch.equal(seen[:, -skip.shape[1] :], skip) and seen.shape[1] > skip.shape[1]


# Conditions


@pytest.mark.parametrize("name", ["x_t", "t", "y", "text", "mask", "image_emb", "low", "low_t"])
def test_everything_given_changes_the_output(name):
    model = build("everything")
    x, t, cond = inputs(model.config)
    args = {"x_t": x, "t": t, **cond}
    before = model(**args)
    value = args[name].clone()
    value[0] = {torch.bool: lambda v: ~v, torch.int64: lambda v: v - 1}.get(value.dtype, lambda v: v + 0.5)(value[0])
    after = model(**{**args, name: value})
    assert (after[0] - before[0]).abs().max() > 1e-4  # for that picture ...
    torch.testing.assert_close(after[1], before[1])  # ... and no other


@pytest.mark.parametrize("name", ["y", "text", "image_emb", "low", "low_t"])
def test_missing_and_unexpected_conditions_are_refused(name):
    model = build("everything")
    x, t, cond = inputs(model.config)
    with pytest.raises(ValueError, match=f"this U-Net needs the condition {name} "):
        model(x, t, **{k: v for k, v in cond.items() if k != name})
    with pytest.raises(ValueError, match=f"this U-Net was not built for the condition {name} "):
        build()(x, t, **{name: cond[name]})


def test_a_mask_without_text_is_refused():
    model = build()
    x, t, cond = inputs(build("text").config)
    with pytest.raises(ValueError, match="mask"):
        model(x, t, mask=cond["mask"])


def test_masked_tokens_do_not_matter():
    model = build("text")
    x, t, cond = inputs(model.config)
    other = torch.where(cond["mask"][:, :, None], cond["text"], 100 * normal(*cond["text"].shape, seed=9))
    torch.testing.assert_close(model(x, t, **{**cond, "text": other}), model(x, t, **cond))
    short = {"text": cond["text"][:1, :4], "mask": cond["mask"][:1, :4]}  # padding may as well be cut off
    torch.testing.assert_close(model(x[:1], t[:1], **short), model(x, t, **cond)[:1])


def test_text_without_a_mask_is_all_of_it():
    model = build("text")
    x, t, cond = inputs(model.config)
    everything = torch.ones_like(cond["mask"])
    torch.testing.assert_close(model(x, t, text=cond["text"]), model(x, t, text=cond["text"], mask=everything))


def test_the_null_class_is_a_class_of_its_own():
    model = build("classes")
    x, t, _ = inputs(model.config, batch=1)
    outs = [model(x, t, torch.tensor([y])) for y in range(6)]
    assert all((a - b).abs().max() > 1e-4 for i, a in enumerate(outs) for b in outs[:i])
    with pytest.raises(IndexError):
        model(x, t, torch.tensor([6]))


def test_low_resolution_pictures_are_scaled_up_smoothly():
    model = build("low")
    x, t, cond = inputs(model.config)
    up = torch.nn.functional.interpolate(cond["low"], (H, W), mode="bilinear", align_corners=False)
    torch.testing.assert_close(model(x, t, low=up, low_t=cond["low_t"]), model(x, t, **cond))


# Gradients and evaluation


def test_gradients_reach_every_parameter(kind):
    model = build(kind).train()
    x, t, cond = inputs(model.config)
    out = model(x, t, **cond)
    (out * normal(*out.shape, seed=5)).sum().backward()
    dead = [n for n, p in model.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-7]
    assert not dead


def test_two_eval_forwards_are_equal_and_dropout_is_off(kind):
    model = build(kind)
    x, t, cond = inputs(model.config)
    assert torch.equal(model(x, t, **cond), model(x, t, **cond))
    if kind == "dropout":
        model.train()
        assert not torch.equal(model(x, t), model(x, t))


def test_eval_does_not_depend_on_batch_mates(kind):
    model = build(kind)
    x, t, cond = inputs(model.config, batch=3)
    whole = model(x, t, **cond)
    for i in range(3):
        alone = model(x[i : i + 1], t[i : i + 1], **{k: v[i : i + 1] for k, v in cond.items()})
        torch.testing.assert_close(alone, whole[i : i + 1], rtol=1e-4, atol=1e-5)


def test_channels_last_gives_the_same_output(kind):
    model = build(kind)
    x, t, cond = inputs(model.config)
    expected = model(x, t, **cond)
    out = model.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last), t, **cond)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)


def test_it_overfits_a_batch():
    torch.manual_seed(0)
    model = UNet(UNetConfig(channels=1, width=16, mults=(1, 2), blocks=1, head_dim=8, classes=4))
    x, target = normal(4, 1, 8, 8), normal(4, 1, 8, 8, seed=1)
    t, y = torch.tensor([1, 20, 300, 999]), torch.arange(4)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(60):
        loss = (model(x, t, y) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(target.square().mean().item())  # it started from 0
    assert losses[-1] < 0.1 * losses[0]


# Configuration


def test_a_config_survives_json():
    config = UNetConfig(**{**TINY, **KINDS["everything"], "attention": (1,)})
    again = UNetConfig(**json.loads(json.dumps(asdict(config))))
    assert again == config and isinstance(again.mults, tuple) and isinstance(again.attention, tuple)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"channels": 0}, "channels must be at least 1; got 0"),
        ({"blocks": 0}, "blocks must be at least 1"),
        ({"patch": 0}, "patch must be at least 1"),
        ({"head_dim": 0}, "head_dim must be at least 1"),
        ({"width": 9}, "width must be even .* got 9"),
        ({"mults": ()}, "mults not empty"),
        ({"attention": (2,)}, r"attention must name resolutions 0\.\.1; got \(2,\)"),
        ({"attention": (-1,)}, "attention must name"),
    ],
)
def test_configs_that_are_none_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        UNetConfig(**{**TINY, **bad})


def test_head_dim_must_divide_the_channels():
    with pytest.raises(ValueError, match="head_dim must divide the 16 channels; got 5"):
        UNet(UNetConfig(**{**TINY, "head_dim": 5}))


@pytest.mark.parametrize("attention", [(), (0,), (1,), (0, 1)])
def test_attention_is_where_it_was_asked_for(attention):
    model = UNet(UNetConfig(**{**TINY, "attention": attention}))
    sizes = []
    for module in model.modules():
        if isinstance(module, Attention):
            module.register_forward_hook(lambda m, args, out: sizes.append(tuple(out.shape[-2:])))
    model(normal(1, C, H, W), torch.tensor([1]))
    expected = {(H, W) for i in attention if i == 0} | {(H // 2, W // 2)}  # the middle always has it
    assert set(sizes) == expected


# Parts


def test_timestep_embedding_against_its_formula():
    t, dim = torch.tensor([0, 7, 1000]), 6
    got = timestep_embedding(t, dim)
    for row, level in zip(got.tolist(), t.tolist(), strict=True):
        waves = [level / 10000 ** (i / 3) for i in range(3)]
        assert row == pytest.approx([math.cos(w) for w in waves] + [math.sin(w) for w in waves], abs=1e-4)
    with pytest.raises(ValueError, match="dim must be even; got 5"):
        timestep_embedding(t, 5)


@pytest.mark.parametrize("channels", [1, 3, 8, 12, 48, 64, 96, 100, 256, 320])
def test_group_norm_divides_the_channels(channels):
    norm = group_norm(channels)
    assert channels % norm.num_groups == 0 and norm.num_groups <= 32
    assert channels / norm.num_groups >= min(4, channels)


def test_attention_against_its_definition():
    attention = Attention(12, head_dim=4, c_context=5)
    nn.init.normal_(attention.proj.weight)
    x, context = normal(2, 12, 3, 2), normal(2, 7, 5, seed=1)
    mask = torch.tensor([[1, 1, 0, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1, 0]]).bool()
    seq = attention.norm(x).flatten(2).transpose(1, 2)  # [2, 6, 12]
    q = attention.to_q(seq)
    k, v = attention.to_kv(context).chunk(2, dim=-1)
    out = torch.zeros_like(q)
    for b in range(2):
        for head in range(3):
            part = slice(4 * head, 4 * head + 4)
            score = q[b, :, part] @ k[b, :, part].T / 2  # sqrt(4)
            weight = score.masked_fill(~mask[b], -torch.inf).softmax(-1)
            out[b, :, part] = weight @ v[b, :, part]
    expected = x + attention.proj(out).transpose(1, 2).reshape(2, 12, 3, 2)
    torch.testing.assert_close(attention(x, context, mask), expected)


def test_residual_block_against_its_definition():
    block = ResBlock(6, 10, 5)
    nn.init.normal_(block.conv2.weight)
    silu = torch.nn.functional.silu
    x, emb = normal(2, 6, 4, 3), normal(2, 5, seed=1)
    scale, shift = block.emb(emb)[:, :10], block.emb(emb)[:, 10:]
    h = block.norm2(block.conv1(silu(block.norm1(x))))
    h = h * (1 + scale[:, :, None, None]) + shift[:, :, None, None]
    torch.testing.assert_close(block(x, emb), block.skip(x) + block.conv2(silu(h)))


def test_down_and_up():
    x = normal(2, 4, 6, 10)
    assert Downsample(4)(x).shape == (2, 4, 3, 5)
    up = Upsample(4, 3)
    assert up(x).shape == (2, 3, 12, 20)
    torch.testing.assert_close(up(x), up.conv(x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)))
