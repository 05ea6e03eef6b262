"""What Concat and Multiply ask of their branches."""

import pytest

import cnnlayers as cl

each = pytest.mark.parametrize("container", [cl.Concat, cl.Multiply])


@each
def test_errors_say_in_which_branch(container):
    with pytest.raises(ValueError, match=r"Affine\(3\) needs rows") as error:
        container([[], cl.Affine(3)]).build((4, 4, 1))
    assert error.value.__notes__ == [f"in branch 1 of {container.__name__}"]


@each
def test_what_is_no_branch(container):
    inner, name = cl.Affine(2), container.__name__
    for bad, kind, message in [
        ([], ValueError, f"{name} needs at least one branch; got none"),
        (inner, TypeError, rf"{name} needs a list of branches; got Affine\(2\)"),
        (3, TypeError, f"{name} needs a list of branches; got 3"),
        ([[inner], 3], TypeError, "needs a list of layers; got 3"),
        ([[inner], inner], ValueError, "belongs to a net already"),
    ]:
        with pytest.raises(kind, match=message):
            container(bad)
    container([[inner]])  # it is free
