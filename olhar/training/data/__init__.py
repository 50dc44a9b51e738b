"""What is learned from: samples become tokens, packs, steps and tensors.

In reading order: ``encode`` (samples to tokens on disk, by ``pieces``), ``packs`` (which documents share a pack),
``draws`` (which packs a step sees), ``shares`` (who takes which), ``layout`` (packs as one row), ``batches`` (tensors),
``feeding`` (made ahead). ``features``: what a frozen tower sees, kept. ``patches``: pictures with boxes.
"""
