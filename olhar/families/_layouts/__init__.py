"""Layouts in which checkpoints were published: one a file, each read into what transformers' own class holds."""
