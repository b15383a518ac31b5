from __future__ import annotations

from dataclasses import replace

import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2

from tritonpack.core.errors import ConfigurationError
from tritonpack.repository.config import (
    BatchInput,
    BatchInputKind,
    DataType,
    DynamicBatching,
    EnsembleScheduling,
    EnsembleStep,
    InstanceGroup,
    InstanceKind,
    ModelConfig,
    ModelInput,
    ModelOutput,
    ModelWarmup,
    Parameter,
    QueuePolicy,
    ResponseCache,
    Specific,
    TimeoutAction,
    VersionPolicy,
    WarmupInput,
)
from tritonpack.repository.pbtxt import HEADER, parse, render

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NAMES = st.text('abc_0"\\\n\té☃', min_size=1, max_size=6)
INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
UINT64 = st.integers(0, 2**64 - 1)


def tuples(elements):
    return st.lists(elements, max_size=3).map(tuple)


def dictionaries(values):
    return st.dictionaries(NAMES, values, max_size=3)


DIMS = tuples(INT64)
UINT32 = st.integers(0, 2**32 - 1)
POLICIES = st.builds(QueuePolicy, st.sampled_from(TimeoutAction), UINT64, st.booleans(), UINT32)
BATCHERS = st.builds(
    DynamicBatching,
    UINT64,
    UINT64,
    UINT64,
    st.none() | POLICIES,
    st.dictionaries(UINT64, POLICIES, max_size=3),
)
TYPES = st.sampled_from(DataType)
# Triton's message holds one of the two.
SCHEDULING = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"dynamic_batching": BATCHERS}),
    st.fixed_dictionaries(
        {
            "ensemble_scheduling": st.builds(
                EnsembleScheduling,
                tuples(st.builds(EnsembleStep, TEXT, INT64, dictionaries(TEXT), dictionaries(TEXT))),
            )
        }
    ),
)
PARTS = st.builds(
    ModelConfig,
    name=TEXT,
    backend=TEXT,
    platform=TEXT,
    max_batch_size=INT32,
    default_model_filename=TEXT,
    version_policy=st.none() | st.builds(VersionPolicy, st.builds(Specific, DIMS)),
    input=tuples(st.builds(ModelInput, TEXT, TYPES, DIMS, st.booleans())),
    output=tuples(st.builds(ModelOutput, TEXT, TYPES, DIMS)),
    batch_input=tuples(st.builds(BatchInput, st.sampled_from(BatchInputKind), tuples(TEXT), TYPES, tuples(TEXT))),
    instance_group=tuples(st.builds(InstanceGroup, INT32, st.sampled_from(InstanceKind))),
    parameters=dictionaries(st.builds(Parameter, TEXT)),
    model_warmup=tuples(
        st.builds(
            ModelWarmup,
            TEXT,
            UINT32,
            dictionaries(st.builds(WarmupInput, TYPES, DIMS, st.booleans())),
        )
    ),
    response_cache=st.none() | st.builds(ResponseCache, st.booleans()),
)
CONFIGS = st.builds(lambda parts, scheduling: replace(parts, **scheduling), PARTS, SCHEDULING)


@settings(deadline=None)  # how fast it is is no part of these tests
@given(CONFIGS)
def test_parse_is_the_inverse_of_render(config):
    assert parse(render(config)) == config


@settings(deadline=None)  # how fast it is is no part of these tests
@given(CONFIGS)
def test_render_is_the_inverse_of_parse_on_what_it_wrote(config):
    text = render(config)
    assert render(parse(text)) == text


@settings(deadline=None)  # how fast it is is no part of these tests
@given(CONFIGS)
def test_equal_configurations_render_to_equal_bytes(config):
    turned = replace(config, parameters=dict(reversed(config.parameters.items())))
    assert turned == config
    assert render(turned) == render(config)


@settings(deadline=None)  # how fast it is is no part of these tests
@given(CONFIGS)
def test_tritons_own_protobuf_reads_the_same_values(config):
    message = text_format.Parse(render(config), model_config_pb2.ModelConfig())
    assert message.name == config.name
    assert message.max_batch_size == config.max_batch_size
    assert [tuple(part.dims) for part in message.input] == [part.dims for part in config.input]
    assert {key: value.string_value for key, value in message.parameters.items()} == {
        key: value.string_value for key, value in config.parameters.items()
    }
    assert message.HasField("dynamic_batching") is (config.dynamic_batching is not None)
    assert message.HasField("ensemble_scheduling") is (config.ensemble_scheduling is not None)


def test_what_has_its_default_isnt_written():
    assert render(ModelConfig("tiny")) == HEADER + 'name: "tiny"\n'


def test_the_text_of_a_small_configuration():
    config = ModelConfig(
        "tiny",
        backend="python",
        max_batch_size=8,
        input=(ModelInput("text", DataType.STRING, (1,), allow_ragged_batch=True),),
        instance_group=(InstanceGroup(2, InstanceKind.CPU),),
        dynamic_batching=DynamicBatching(),
        parameters={"b": Parameter("2"), "a": Parameter("1")},
    )
    assert render(config) == HEADER + (
        'name: "tiny"\nbackend: "python"\nmax_batch_size: 8\n'
        'input {\n  name: "text"\n  data_type: TYPE_STRING\n  dims: [ 1 ]\n  allow_ragged_batch: true\n}\n'
        "instance_group {\n  count: 2\n  kind: KIND_CPU\n}\ndynamic_batching {\n}\n"
        'parameters {\n  key: "a"\n  value {\n    string_value: "1"\n  }\n}\n'
        'parameters {\n  key: "b"\n  value {\n    string_value: "2"\n  }\n}\n'
    )


def test_the_text_of_a_bounded_queue():
    policy = QueuePolicy(default_timeout_microseconds=5, allow_timeout_override=True, max_queue_size=3)
    delayed = QueuePolicy(TimeoutAction.DELAY)
    batching = DynamicBatching(7, 2, 1, policy, {2: delayed, 1: QueuePolicy()})
    assert render(ModelConfig("tiny", dynamic_batching=batching)) == HEADER + (
        'name: "tiny"\ndynamic_batching {\n  max_queue_delay_microseconds: 7\n'
        "  priority_levels: 2\n  default_priority_level: 1\n"
        "  default_queue_policy {\n    default_timeout_microseconds: 5\n    allow_timeout_override: true\n"
        "    max_queue_size: 3\n  }\n"
        "  priority_queue_policy {\n    key: 1\n    value {\n    }\n  }\n"
        "  priority_queue_policy {\n    key: 2\n    value {\n      timeout_action: DELAY\n    }\n  }\n}\n"
    )


def test_what_isnt_a_configuration_is_refused():
    with pytest.raises(ConfigurationError, match=r"not a Triton model configuration: .*nmae"):
        parse('nmae: "x"')


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('name: "x" optimization { priority: PRIORITY_MAX }', "optimization"),
        ('name: "x" input { name: "i" data_type: TYPE_FP32 format: FORMAT_NCHW }', "format"),
    ],
)
def test_a_field_that_isnt_ours_is_refused_rather_than_lost(text, field):
    with pytest.raises(ConfigurationError, match=f"has fields that tritonpack doesn't write: {field}"):
        parse(text)


def test_a_value_that_isnt_ours_is_refused_rather_than_lost():
    with pytest.raises(ConfigurationError, match="data_type is TYPE_UINT8, which tritonpack doesn't write"):
        parse('name: "x" input { name: "i" data_type: TYPE_UINT8 }')
