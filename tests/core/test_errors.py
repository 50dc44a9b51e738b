"""What a person reads when something is theirs to mend."""

import pickle

from olhar.core import errors
from olhar.core.errors import OlharError, Problem, RecipeError, UserError


def test_an_error_says_what_where_and_how() -> None:
    error = UserError("it broke", "here", "mend it")
    assert str(error).splitlines() == ["it broke", "  where: here", "  fix:   mend it"]
    assert (error.what, error.where, error.fix) == ("it broke", "here", "mend it")


def test_all_errors_of_a_person_are_one_kind() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert {kind.__name__ for kind in kinds if not issubclass(kind, UserError)} == {"OlharError"}
    assert all(issubclass(kind, OlharError) for kind in kinds)
    tree = errors.__doc__ or ""
    assert all(kind.__name__ in tree for kind in kinds), "the tree in the docstring has all of them"


def test_problems_of_a_recipe_are_listed() -> None:
    error = RecipeError("r.toml", [Problem("a.b", "wrong", "right it"), Problem("c", "missing", "add it")])
    assert "2 problems" in error.what and "  - a.b: wrong (fix: right it)" in str(error)
    assert error.where == "r.toml" and len(error.problems) == 2


def test_errors_travel_between_processes() -> None:
    mended = pickle.loads(pickle.dumps(UserError("it broke", "here", "mend it")))
    assert str(mended) == str(UserError("it broke", "here", "mend it"))
    listed = pickle.loads(pickle.dumps(RecipeError("r.toml", [Problem("a.b", "wrong", "right it")])))
    assert listed.problems == (Problem("a.b", "wrong", "right it"),) and listed.where == "r.toml"
