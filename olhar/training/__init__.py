"""Parts, or a checkpoint, learn from a mixture, stage after stage.

In reading order: ``session`` (one run), ``opening`` (what it starts from), ``material`` (what a stage learns from; more
in ``data``), ``loop`` (step by step), ``schedule`` (the rate of a step), ``records`` (what is told of it). ``model``
holds what learns, ``processes`` many processes and what survives a kill; ``energy`` and ``logs`` stand beside.
"""
