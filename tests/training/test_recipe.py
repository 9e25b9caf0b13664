"""Recipes are validated, and can be converted to JSON and back."""

import json

import pytest

from training.errors import ConfigError
from training.recipe import Recipe, scratch_recipe


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dropout": 1.0}, "dropout"),
        ({"width": 0}, "width"),
        ({"phases": ()}, "phase"),
        ({"batch_size": 0}, "batch"),
        ({"channels": (8,) * 16, "width": 0.5}, "leave width at 1"),
        ({"cached_augmentations": -1}, "cached_augmentations"),
        ({"weight_decay": 1e30}, "weight_decay"),
        ({"mixup": 1.5}, "mixup"),
        ({"augmentation": -1}, "augmentation"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        scratch_recipe(**changes)


def test_a_recipe_survives_json_and_refuses_unknown_keys() -> None:
    recipe = scratch_recipe(seed=4)
    values = json.loads(json.dumps(recipe.to_dict()))

    assert Recipe.from_dict(values) == recipe
    with pytest.raises(ConfigError):
        Recipe.from_dict(values | {"drop_out": 0.1})
