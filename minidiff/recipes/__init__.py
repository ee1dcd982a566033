"""One module for each published checkpoint or experiment: `python -m minidiff.recipes.NAME`, or with several GPUs
`accelerate launch -m minidiff.recipes.NAME`."""
