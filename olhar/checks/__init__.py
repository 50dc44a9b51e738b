"""One property of a sample a file. Each holds ``check(sample, parent, language) -> Iterator[Finding]``.

``parent`` is the sample before translation, or None. A finding of severity ``error`` rejects the sample;
nothing is ever repaired. A check that must remember earlier samples (duplicates) holds ``start()``
returning such a function instead.
"""
