"""What learns: which parameters at which rate, and the loss that moves them.

``prepare`` makes a model ready for a stage (``adapters``, ``new_tokens``, ``blocks``), ``optimizers`` groups what
learns, ``objectives`` are the losses, computed with the packed attention of ``attention`` and, on GPUs, ``varlen`` and
``kernels``. ``vocabulary``: a tokenizer of one's own.
"""
