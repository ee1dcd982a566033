"""How each bundled checkpoint was made, and how comparisons were run: programs, run with `python -m`."""

# Those that leave a checkpoint, by the names that `minidiff train` takes; each is a module with dashes for underscores.
CHECKPOINTS = (
    "mnist-classifier", "mnist-ddpm", "mnist-gan", "mnist-autoencoder", "shapes-classifier", "mini-clip",
    "mini-clip-cbow", "mini-clip-resnet", "shapes-autoencoder", "shapes-upscaler", "stable-diffusion",
)  # fmt: skip
