"""Pure functions: a number from strings, or an interval from numbers. One rule a file.

They know no benchmark, no file and no language: what a word means is the caller's business
(``olhar.languages``). Every docstring names the rule's source, because two kits that call a number by the
same name often mean two different numbers.
"""
