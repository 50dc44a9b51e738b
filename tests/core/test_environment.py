"""What a bug report says of the machine."""

import sys

import olhar
from olhar.core import environment


def test_facts_are_words_about_what_is_installed() -> None:
    facts = environment.facts()
    assert facts["olhar"] == olhar.__version__ and facts["python"] == sys.version.split()[0]
    assert set(environment.PACKAGES) <= facts.keys() and all(facts.values())
    assert facts["torch"][0].isdigit() and facts["memory"].endswith(" GiB")


def test_a_package_that_is_missing_is_said_to_be() -> None:
    assert environment._version("no-such-package-anywhere") == "not installed"
