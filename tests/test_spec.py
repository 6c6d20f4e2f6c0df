"""Specs: their canonical form and identity, what a file may hold, and the sentences for what it may not."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from longlag import registry, specfile
from longlag.cells.elman import RNNOptions
from longlag.errors import UserError
from longlag.spec import RunSpec, WhenSpec, load_run, load_study, points
from longlag_tasks.adding import AddingOptions

SMALL = {"task": "adding", "cell": "rnn"}

# Defaults of which papers and people rely on. A change here changes the identity of every run that anybody has made.
PINNED: dict[str, Any] = {
    "task": {"name": "adding", "length": 100, "variant": "halves", "solved_mse": 0.005},
    "cell": {"name": "rnn", "activation": "tanh"},
    "model": {"hidden_size": 64, "depth": 1},
    "optimizer": {"name": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0},
    "clip": {"norm": None, "value": None},
    "schedule": {"name": "constant", "gamma": 0.1, "every": 1000, "warmup": 0},
    "training": {
        "batch_size": 50,
        "updates": 5000,
        "eval_every": 200,
        "stop_when_solved": True,
        "dtype": "float32",
        "device": "cpu",
        "kernel": "auto",
    },
    "data": {"validation": 1000, "test": 2000, "seed": 0},
    "probe": {"log_every": 20, "curves": True, "batch_size": 50},
    "seed": 0,
}
CANONICAL: dict[str, Any] = json.loads(load_run(SMALL).canonical())


def test_the_canonical_form_is_every_field_sorted_without_white_space() -> None:
    text = load_run(SMALL).canonical()
    assert text == json.dumps(CANONICAL, sort_keys=True, separators=(",", ":"))
    assert CANONICAL.keys() == RunSpec.model_fields.keys()
    for section, fields in PINNED.items():
        found = CANONICAL[section]
        assert fields == ({key: found[key] for key in fields} if isinstance(fields, dict) else found)


def test_the_run_key_is_the_hash_of_canonical_form_and_versions() -> None:
    text = json.dumps(CANONICAL, sort_keys=True, separators=(",", ":")) + "\ntask 1\ncell 1\n"
    assert load_run(SMALL).run_key == hashlib.sha256(text.encode()).hexdigest()


def test_the_canonical_form_is_the_same_in_another_process() -> None:
    code = f"from longlag.spec import load_run; print(load_run({SMALL!r}).run_key)"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == load_run(SMALL).run_key


def test_a_new_version_of_task_or_cell_is_another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from longlag.cells.elman import RNN

    before = load_run(SMALL).run_key
    monkeypatch.setattr(RNN, "version", 2)
    assert load_run(SMALL).run_key != before


def test_a_new_version_of_an_optimizer_is_another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from longlag.optimizers.adam import Adam

    before = {name: load_run({**SMALL, "optimizer": name}).run_key for name in ("adam", "sgd")}
    monkeypatch.setattr(Adam, "version", 2)
    after = {name: load_run({**SMALL, "optimizer": name}).run_key for name in ("adam", "sgd")}
    assert after["adam"] != before["adam"] and after["sgd"] == before["sgd"]


def test_defaults_that_are_spelled_out_do_not_change_the_identity() -> None:
    assert load_run(CANONICAL).run_key == load_run(SMALL).run_key
    assert load_run(PINNED).run_key == load_run(SMALL).run_key
    assert load_run({**SMALL, "cell": {"name": "rnn"}}).run_key == load_run(SMALL).run_key
    assert load_run({**SMALL, "cell": {"name": "rnn", "activation": "tanh"}}).run_key == load_run(SMALL).run_key
    assert load_run({**SMALL, "optimizer": "adam"}).run_key == load_run(SMALL).run_key
    assert load_run({**SMALL, "optimizer": {"lr": 1e-3}}).run_key == load_run(SMALL).run_key


@pytest.mark.parametrize(
    ("path", "default", "other"),
    [
        ("model.block", "plain", "mamba"),
        ("model.block", {"name": "plain", "conv": False}, {"conv": True}),
        ("schedule.floor", 0.0, 0.01),
        ("optimizer.decayed", "all", "weights"),
    ],
)
def test_fields_younger_than_recorded_runs_are_in_no_identity_at_their_default(
    path: str, default: Any, other: Any
) -> None:
    section, _, field = path.partition(".")
    assert field not in CANONICAL[section]
    keys = []
    for value in (default, other):
        data = json.loads(json.dumps(CANONICAL))
        specfile.assign(data, path, value)
        run = load_run(data)
        keys.append(run.run_key)
        assert load_run(json.loads(run.canonical())) == run
    assert keys[0] == load_run(SMALL).run_key != keys[1]


def test_a_block_is_a_preset_and_what_is_given_over_it() -> None:
    data = specfile.override(SMALL, ["model.block=mamba", "model.block.conv=false", "model.block.mlp=swiglu"])
    block = load_run(data).model.block
    assert (block.name, block.norm, block.expand, block.conv, block.mlp) == ("mamba", "rms", 2, False, "swiglu")
    again = load_run({**SMALL, "model": {"block": block.model_dump(exclude_defaults=True)}})
    assert again.model.block == block, "what is off stays off when it is read again"
    space = {
        "model.block": ["plain", "mamba"],
        "model.block.conv": {"when": {"model.block": "mamba"}, "values": [True, False]},
    }
    study = load_study({**STUDY, "space": space})
    runs = [study.run(point, 0) for point in points.points(study.space)]
    assert [(run.model.block.name, run.model.block.conv) for run in runs] == [
        ("plain", False), ("mamba", True), ("mamba", False)
    ]  # fmt: skip


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, dict) and inner:
            yield from leaves(inner, f"{path}{key}.")
        elif key != "name":
            yield path + key, inner


OTHER: dict[str, dict[str, Any]] = {  # where no number, flag or choice will do
    "task.solved_accuracy": {"task.variant": "1997", "task.solved_accuracy": 0.9},
    "cell.std": {"cell.init": "normal", "cell.std": 0.2},
    "model.readout.hidden": {"model.readout.hidden": [8]},
    "optimizer.betas": {"optimizer.betas": [0.8, 0.999]},
    "training.device": {"training.device": "cuda"},
    "data.beyond": {"data.beyond": {"longer": {"length": 200}}},
    "regulariser.weight": {"regulariser": {"name": "omega", "weight": 2.0}},
    **{f"probe.when.{name}": {f"probe.when.{name}": [7]} for name in WhenSpec.model_fields},
    "data.curriculum": {"data.curriculum": [{"until": 0.5, "task": {"length": 50}}]},
}


def choices(schema: Any) -> Iterator[Any]:
    """Every value that an enumeration anywhere in a schema allows."""
    if isinstance(schema, dict):
        yield from schema.get("enum", [])
        for inner in schema.values():
            yield from choices(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from choices(inner)


def others(path: str, value: Any) -> Iterator[dict[str, Any]]:
    """Settings that may give `path` another value."""
    if path in OTHER:
        yield OTHER[path]
    numbers = [value + 1, value / 2, 0.5] if isinstance(value, int | float) else [1, 0.5, 10]
    schemas = [RunSpec.model_json_schema(), AddingOptions.model_json_schema(), RNNOptions.model_json_schema()]
    candidates: Iterable[Any] = (
        [not value] if isinstance(value, bool) else numbers if not isinstance(value, str) else choices(schemas)
    )
    for candidate in candidates:
        if candidate != value:
            yield {path: candidate}


@pytest.mark.parametrize(("path", "value"), [pytest.param(*leaf, id=leaf[0]) for leaf in leaves(CANONICAL)])
def test_every_field_changes_the_identity(path: str, value: Any) -> None:
    for settings in others(path, value):
        data = json.loads(json.dumps(CANONICAL))
        for where, other in settings.items():
            specfile.assign(data, where, other)
        try:
            run = load_run(data)
        except UserError:
            continue
        assert run.run_key != load_run(SMALL).run_key
        return
    pytest.fail(f"no other value of {path} is known here: add one to OTHER")


@pytest.mark.parametrize("name", registry.names("optimizer"))
def test_the_optimizers_names_change_it_and_come_through(name: str) -> None:
    spec = load_run({**SMALL, "optimizer": name})
    assert spec.optimizer.name == name
    assert RunSpec.model_validate_json(spec.canonical()) == spec


def test_specs_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_run(SMALL).seed = 1  # type: ignore[misc]


# -- files and overrides ----------------------------------------------------------------------------------------------


def test_overrides_are_yaml_and_leave_what_they_are_applied_to_alone() -> None:
    data: dict[str, Any] = {"task": "adding", "cell": "lstm", "clip": {"norm": 1}}
    settings = [
        "task.length=40",
        "cell.forget_bias=2",
        "clip.value=.5",
        "optimizer={name: sgd, momentum: 0.9}",
        "seed=3",
    ]
    spec = load_run(specfile.override(data, settings))
    assert spec.task.options["length"] == 40
    assert spec.cell.options["forget_bias"] == 2
    assert (spec.clip.norm, spec.clip.value) == (1, 0.5)
    assert spec.optimizer.model_dump(include={"name", "momentum"}) == {"name": "sgd", "momentum": 0.9}
    assert spec.seed == 3
    assert data == {"task": "adding", "cell": "lstm", "clip": {"norm": 1}}


@pytest.mark.parametrize(
    ("text", "value"), [("1e-3", 1e-3), ("1E5", 1e5), ("-2.5e-4", -2.5e-4), ("1.0e-3", 1e-3), (".5e1", 5.0)]
)
def test_numbers_with_an_exponent_are_numbers(text: str, value: float) -> None:
    parsed = specfile.parse(text, "text")
    assert isinstance(parsed, float) and parsed == value


def test_words_that_only_look_like_numbers_or_dates_stay_words() -> None:
    words = ["e3", "1e", "2026-11-23", "v1e3", "1:30", "017", "yes", "no", "on", "off"]
    assert specfile.parse(f"[{', '.join(words)}]", "text") == words


def test_numbers_and_words_are_those_of_yaml_1_2() -> None:
    text = "[0, -7, 1_000, 0x1f, 0o17, 0b101, 1., -.5, 1_0.5, true, False, null, ~, '1', {<<: {a: 1}, b: 2}]"
    values = [0, -7, 1000, 31, 15, 5, 1.0, -0.5, 10.5, True, False, None, None, "1", {"a": 1, "b": 2}]
    assert specfile.parse(text, "text") == values
    assert [type(value) for value in specfile.parse(text, "text")] == [type(value) for value in values]


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


CHAIN = "a0: &a0 [x]\n" + "".join(f"a{k}: &a{k} [*a{k - 1}]\n" for k in range(1, 3000))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (BOMB, "more than 100,000 values"),
        ("a: &a [*a]", "an alias refers to itself"),
        ("a: 1\na: 2", "line 2: not valid YAML: 'a' stands twice"),
        ("a: {b: 1, b: 2}", "'b' stands twice"),
        ("a: [1, 2", "line 1: not valid YAML"),
        ("a: !!python/object/apply:os.system ['true']", "not valid YAML"),
        ("[" * 5000, "nested too deeply"),
        (CHAIN, "nested too deeply"),
        ("a: 1\nb: !!bool maybe", "line 2: not valid YAML: 'maybe' is neither true nor false"),
        ('a: !!int ""', "not valid YAML: '' is no whole number"),
        ('a: !!float ""', "not valid YAML: '' is no number"),
        ("a: !!binary aGFsbG8=", "could not determine a constructor for the tag"),
        ("a: !!set {x}", "could not determine a constructor for the tag"),
        ("a: !!timestamp 2026-11-30", "could not determine a constructor for the tag"),
        (f"a: !{'x' * 5000} 1", f"the tag '!{'x' * 48}…{'x' * 28}'"),
        ("a: 1" + "0" * 400, f"the number 1{'0' * 49}…{'0' * 29} has more than 64 bits"),
        ("a: 0x" + "f" * 5000, f"the number 0x{'f' * 48}…{'f' * 29} has more than 64 bits"),
        ("a: 1e999", "the number 1e999 is not finite"),
        ("a: -.inf", "the number -.inf is not finite"),
        ('a: "\\uD800"', "'.ud800' holds a character that cannot be stored"),
        ('a: "\\0"', "'.x00' holds a character that cannot be stored"),
        ("? {a: 1}\n: 2", "not valid YAML"),
        ("a: \x00", "not valid YAML"),
    ],
)
def test_yaml_that_is_wrong_or_made_to_explode(text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        specfile.parse(text, "study.yaml")
    assert str(caught.value).startswith("study.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"- 1\n- 2\n", "it holds a list"),
        (b"", "it holds nothing"),
        (b"word", "it holds a piece of text"),
        (b"a: 1\n" + b"#" * 1_000_001, "larger than 1,000,000 bytes"),
    ],
)
def test_files_that_are_no_specs(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        specfile.read(path)


# -- sentences --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"task": "addin"}, "there is no task named 'addin'; did you mean 'adding'?"),
        ({"cell": "lstmm"}, "there is no cell named 'lstmm'; did you mean 'lstm'?"),
        ({"optimizer": "adm"}, "there is no optimizer named 'adm'; did you mean 'adam'?"),
        ({"optimiser": "adam"}, "no field 'optimiser'; did you mean 'optimizer'?"),
        ({"probe": {"when": {"jacobain": ["end"]}}}, "there is no probe named 'jacobain'; did you mean 'jacobian'?"),
        ({"model": {"hiden_size": 3}}, "no field 'model.hiden_size'; did you mean 'hidden_size'?"),
        ({"optimizer": {"name": "sgd", "momentun": 0.9}}, "did you mean 'momentum'?"),
        ({"cell": {"name": "lstm", "forgetbias": 1}}, "no field 'forgetbias'; did you mean 'forget_bias'?"),
        ({"task": {"name": "adding", "length": 1}}, "length should be at least 2"),
        ({"task": {"name": "adding", "length": -5}}, "length should be at least 2"),
        ({"model": {"depth": "two"}}, "model.depth: "),
        ({"seed": -1}, "seed: "),
        ({"optimizer": {"name": "sgd", "nesterov": True}}, "nesterov needs a momentum above 0"),
        ({"optimizer": {"lr": float("nan")}}, "lr: "),
        ({"cell": {"forget_bias": 1}}, "a mapping with a field 'name'"),
        ({"cell": ["lstm"]}, "should be a name"),
        ({"training": {"device": "gpu"}}, "training.device: "),
        ({"task": {"name": "adding", "length": "017"}}, "length: should be a whole number, not '017'"),
        ({"data": {"validation": "yes"}}, "data.validation: Input should be a valid integer"),
        ({"data": {"validation": True}}, "data.validation: should be a whole number, not true"),
        ({"optimizer": {"lr": "1e-3"}}, "lr: should be a number, not '1e-3'"),
        ({"optimizer": {"betas": [0.9, "0.99"]}}, "betas.1: should be a number, not '0.99'"),
        ({"probe": {"when": {"jacobian": ["7"]}}}, "probe.when.jacobian.0: should be a whole number, not '7'"),
        ({"model": {"hidden_size": 10**400}}, "model.hidden_size: Input should be less than or equal to 1000000000"),
        ({"model": {"block": "manba"}}, "model.block.name: Input should be 'plain', 'pre-norm', 'mamba' or 'xlstm'"),
        ({"model": {"block": {"name": "mamba", "conv4": True}}}, "no field 'model.block.conv4'; did you mean 'conv'?"),
        ({"model": {"block": 3}}, "model.block: should be a preset's name or a mapping of fields, not 3"),
        ({"task": {"name": "adding", "length": 10**400}}, "length: should have at most 64 bits, unlike 1000"),
    ],
)
def test_what_is_wrong_with_a_run_is_said_in_one_sentence(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        load_run({**SMALL, **fields})
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


STUDY: dict[str, Any] = {"name": "s", "base": SMALL, "space": {"model.depth": [1, 2]}, "sampler": {"name": "grid"}}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"space": {"model.depth": []}}, "space.model.depth: has no values"),
        ({"space": {"cell": ["lstm", "gruu"]}}, "space.cell: there is no cell named 'gruu'; did you mean 'gru'?"),
        ({"space": {"model.dept": [1]}}, "no field 'model.dept'; did you mean 'depth'?"),
        ({"space": {"model.depth": {"low": 3, "high": 1}}}, "low (3) is above high (1)"),
        ({"space": {"optimizer.lr": {"low": 0, "high": 1, "log": True}}}, "a logarithmic range starts above 0"),
        (
            {"space": {"optimizer.lr": {"low": 0.1, "high": 1.0}}},
            "a grid needs a list of values, or a range with a step",
        ),
        ({"space": {"seed": [1, 2]}}, "seeds of a study go into its field 'seeds'"),
        ({"seeds": [0, 0]}, "seeds stand twice: [0, 0]"),
        ({"seeds": []}, "seeds: "),
        ({"seeds": [True]}, "seeds.0: should be a whole number, not true"),
        ({"parameters": 10**18}, "parameters: Input should be less than or equal to 100000000"),
        (
            {"space": {"model.depth": [1, "1"]}},
            "space.model.depth: run: model.depth: should be a whole number, not '1'",
        ),
        (
            {"space": {"cell": ["rnn", {"name": "rnn", "activation": "tanh"}]}},
            "space.cell: 'rnn' and {'name': 'rnn', 'activation': 'tanh'} are one and the same run",
        ),
        (
            {"space": {"task.length": [10, 20], "task": [{"name": "adding", "length": 12}]}},
            "space.task: the value 'adding(length=12)' sets task.length, and so does the axis task.length",
        ),
        (
            {"space": {"model.depth": [1, 2]}, "arms": {"deep": {"model": {"depth": 3}}, "wide": {}}},
            "space.arm: the value 'deep' sets model.depth, and so does the axis model.depth",
        ),
        ({"space": {"optimizer.lr": {"low": 1, "high": 1e300, "step": 1e-10}}}, "at most 1,000,000,000,000,000 steps"),
        ({"space": {"optimizer.lr": {"low": 1, "high": 2, "step": 5e-324}}}, "a step of 5e-324 makes more"),
        (
            {"space": {"optimizer.lr": {"low": 1, "high": 1e301}}},
            "space.optimizer.lr: a range ends at 9,007",
        ),
        ({"space": {"data.seed": {"low": 0, "high": 2**60}}}, "space.data.seed: a range ends at 9,007,199,254,740,992"),
        (
            {"space": {"model.depth": {"low": 1, "high": 9}}, "enqueue": [{"model.depth": float("inf")}]},
            "enqueue, point 1: model.depth is a whole number from 1 to 9, not Infinity",
        ),
        ({"trials": 0}, "trials: "),
        ({"sampler": {"name": "tpe"}}, "how many points should the tpe sampler try?"),
        ({"sampler": {"name": "gird"}}, "there is no sampler named 'gird'; did you mean 'grid'?"),
        ({"sampler": {"name": "grid", "sede": 1}}, "sampler 'grid': no field 'sede'; did you mean 'seed'?"),
        ({"name": "a/b"}, "name: "),
        ({"name": "../up"}, "name: "),
        ({"base": {"task": "adding"}}, "cell"),
        ({"spaces": {}}, "no field 'spaces'; did you mean 'space'?"),
    ],
)
def test_what_is_wrong_with_a_study_is_said_in_one_sentence(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        load_study({**STUDY, **fields})
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_value_may_set_what_is_an_axis_only_for_other_values() -> None:
    tasks = [{"name": "adding", "length": 12}, "copy-memory"]
    space = {"task": tasks, "task.length": {"when": {"task": ["copy-memory"]}, "values": [10, 20]}}
    assert points.size(load_study({**STUDY, "space": space}).space) == 3


def test_a_studys_identity_is_its_base_space_and_seeds() -> None:
    identity = load_study(STUDY).identity()
    for same in (
        {"trials": 1},
        {"description": "x"},
        {"base": CANONICAL | {"seed": 0}},
        {"sampler": {"name": "random"}, "trials": 2},
    ):
        fields = {**STUDY, **same}
        fields["base"] = {key: value for key, value in fields["base"].items() if key != "seed"}
        assert load_study(fields).identity() == identity
    for other in (
        {"seeds": [1]},
        {"seeds": [0, 1]},
        {"space": {"model.depth": [1, 3]}},
        {"base": {**SMALL, "cell": "gru"}},
    ):
        assert load_study({**STUDY, **other}).identity() != identity


def test_shorter_paths_are_set_before_longer_ones() -> None:
    space = {"cell.forget_bias": [2.0], "cell": ["lstm"]}
    run = load_study({**STUDY, "space": space}).run({"cell.forget_bias": 2.0, "cell": "lstm"}, 4)
    assert (run.cell.options["forget_bias"], run.seed) == (2.0, 4)
