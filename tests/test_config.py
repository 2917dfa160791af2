"""Configurations: what is refused, and what their names say."""

import dataclasses
import json

import pytest

from thesis_utils import data, evaluation, runs
from thesis_utils.architectures import ARCHITECTURES
from thesis_utils.errors import InputError
from thesis_utils.losses import FINE_TUNING, REDUCTIONS
from thesis_utils.models import ACTIVATIONS, PADDINGS
from thesis_utils.runs import shell

FIELDS = {field.name: field for field in dataclasses.fields(runs.Config)}
BAD = {str: ["no such thing", 3, None], int: [-1, 1.5, "2", True], float: [-1.0, float("nan"), float("inf"), "1"],
       bool: [1, "yes", None]}  # fmt: skip
GOOD_NAMES = ("dataset", "outliers")  # any word may name a data set
OTHER = dict(profile="thesis", dataset="svhn", architecture=None, activation="relu", entropy_reduction="sum",
             optimizer="sgd", padding="mean", precision="bfloat16", sizes="16-32", fine_tuning=None,
             outliers=None)  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_refuses_a_bad_value(field):
    good = runs.configure("demo", fine_tuning="energy")
    for value in BAD[FIELDS[field].type]:
        if field in GOOD_NAMES and isinstance(value, str):
            value = "a/folder"
        with pytest.raises(InputError, match=rf"^{field} must be .*, not {value!r}$"):
            dataclasses.replace(good, **{field: value})


@pytest.mark.parametrize("overrides, message", [
    (dict(width=7), "width must be a whole number from 8 to 2147483647, not 7"),
    (dict(epochs=0), "epochs must be a whole number from 1 to 2147483647, not 0"),
    (dict(seed=2**31), "seed must be a whole number from 0"),
    (dict(batch_size=1), "batch_size must be a whole number from 2"),
    (dict(dataset="a\0b"), "dataset must be the name of a data set"),
    (dict(learning_rate=0.0), "learning_rate must be a number above 0"),
    (dict(activation="gelu"), "activation must be one of relu, softmax, log_softmax"),
    (dict(sizes="16-24"), "sizes must be pixels of the training's images, at least 8, the last 32: 16-24-32"),
    (dict(sizes="4-32"), "sizes must be pixels"),
    (dict(activation="relu", entropy_factor=0.1), "needs activation log_softmax, not relu"),
    (dict(lamda=0.1), "unknown configuration key 'lamda'; there are activation, .*entropy_factor"),
    (dict(entropy_factor=0.1, entropy_reduction="sum", sizes="16-32"), "set sizes to 32"),
    (dict(outliers="svhn"), "fine_tuning .*, outliers .* go together"),
    (dict(fine_tuning="energy", tuning_epochs=0), "go together"),
    (dict(profile="huge"), "choose from demo, compact, half, thesis"),
])  # fmt: skip
def test_a_configuration_that_makes_no_sense(overrides, message):
    with pytest.raises(InputError, match=message):
        runs.configure(**overrides)


def test_a_name_changes_with_every_value():
    base = runs.configure("demo")
    assert base.name == runs.configure("demo", entropy_factor=0).name
    names = {base.name}
    for field, one in FIELDS.items():
        other = {int: 9, float: 0.123, bool: not getattr(base, field)}.get(one.type, OTHER.get(field))
        if other is not None and field not in runs.config.UNTUNED:
            names.add(dataclasses.replace(base, **{field: other}).name)
    tuned = runs.configure("demo", fine_tuning="energy")
    for changed in (dict(outliers="svhn"), dict(outliers_per_image=3), dict(tuning_epochs=9), dict(tuning_rate=0.5)):
        names.add(dataclasses.replace(tuned, **changed).name)
    names |= {tuned.name, dataclasses.replace(tuned, fine_tuning="outlier_exposure").name}
    assert len(names) == len(FIELDS) + 1  # all but the architecture, of which there is one; and two plain networks


def test_a_name_does_not_depend_on_the_defaults():
    """With another default, the same values keep their name and other values get another one."""
    values = dataclasses.asdict(runs.configure("demo"))
    fields = [(name, one.type, 99 if name == "epochs" else one.default) for name, one in FIELDS.items()]
    later = dataclasses.make_dataclass("Config", fields, frozen=True, bases=(runs.Config,))
    assert later(**values).name == runs.Config(**values).name
    del values["epochs"]
    assert later(**values).name != runs.Config(**values).name


def test_a_field_that_came_later_orphans_no_folder(tmp_path):
    """Folders that lack it are read with the value that they had, and keep their name."""
    config = runs.configure("compact", activation="relu", optimizer="sgd", learning_rate=0.2, padding="zero")
    older = {key: value for key, value in dataclasses.asdict(config).items() if key not in runs.config.ADDED}
    (tmp_path / "config.json").write_text(json.dumps(older))
    assert runs.run.read_config(tmp_path) == config
    assert config.name == "compact-cifar10-relu-seed0-958741"  # as recorded before there were these fields
    del older["width"]
    (tmp_path / "config.json").write_text(json.dumps(older))
    with pytest.raises(InputError, match="no config.json that this version of the code can read"):
        runs.run.read_config(tmp_path)


def test_the_command_of_a_configuration_gives_it_back():
    config = runs.configure("demo", activation="relu", seed=3, flip=True)
    assert runs.command(config) == "python -m thesis_utils train --profile demo --activation relu --seed 3 --flip True"
    tuned = runs.configure("demo", activation="relu", epochs=13, fine_tuning="energy")
    assert tuned.tuning_epochs == 2 and tuned.tuning_rate == pytest.approx(2e-4)
    assert runs.command(tuned).endswith("--profile demo --activation relu --fine-tuning energy --epochs 13")
    more = dataclasses.replace(tuned, tuning_epochs=5)
    assert runs.command(more).endswith("--fine-tuning energy --epochs 13 --tuning-epochs 5")


@pytest.mark.parametrize("overrides", [
    dict(activation="softmax", epochs=3),
    dict(architecture="densenet22"),
    dict(activation="softmax", optimizer="sgd"),
    dict(entropy_factor=0.1, entropy_reduction="sum", sizes="32"),
    dict(activation="relu", optimizer="muon", padding="mean", learning_rate=0.05, fine_tuning="energy"),
    dict(activation="softmax", fine_tuning="outlier_exposure", outliers="svhn", tuning_rate=0.5, decay_norms=False),
])  # fmt: skip
def test_every_command_gives_its_configuration_back(overrides):
    config = runs.configure("compact", **overrides)
    options = vars(shell.parser().parse_args(runs.command(config).split()[3:]))
    assert runs.configure(**{key: options[key] for key in FIELDS}) == config


def test_the_choices_are_what_the_method_offers():
    offered = {"architecture": ARCHITECTURES, "activation": ACTIVATIONS, "padding": PADDINGS,
               "entropy_reduction": REDUCTIONS, "fine_tuning": ("none", *FINE_TUNING)}  # fmt: skip
    for field, names in offered.items():
        assert set(runs.config.CHOICES[field]) == {*names}
    assert runs.config.SIZE == data.SIZE and runs.run.CORRECT == evaluation.CORRECT


def test_a_fine_tuning_knows_its_network():
    config = runs.configure("compact", activation="relu", seed=1)
    for method, tuned in runs.fine_tunings(config).items():
        assert tuned.base == config and tuned.fine_tuning == method and tuned.outliers == "tinyimagenet32_subset"
        assert (tuned.outliers_per_image, tuned.tuning_epochs, tuned.tuning_rate) == (2, 1, 0.002)
