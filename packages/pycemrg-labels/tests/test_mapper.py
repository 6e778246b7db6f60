import logging

import pytest

from pycemrg.data import LabelManager, LabelMapper


@pytest.fixture
def mapper(tmp_path):
    """Make mappers between two standards given as YAML."""

    def make(source, target):
        (tmp_path / "source.yaml").write_text(source)
        (tmp_path / "target.yaml").write_text(target)
        return LabelMapper(
            source=LabelManager(tmp_path / "source.yaml"),
            target=LabelManager(tmp_path / "target.yaml"),
        )

    return make


def test_names_that_both_have_are_mapped_equal_values_too(mapper):
    mapping = mapper(
        "labels: {background: 0, LV: 100, RV: 101, extra: 7}",
        "labels: {LV: 2, RV: 101, background: 0, other: 9}",
    ).get_source_to_target_mapping()
    assert mapping == {0: 0, 100: 2, 101: 101}


def test_the_managers_are_attributes_and_resolve_their_own_names(mapper):
    both = mapper("labels: {LV: 100, RV: 101}\ngroups: {v: [LV, RV]}", "labels: {LV: 2, RV: 3}\n")
    assert both.get_source_tags(["v"]) == both.source.get_values_from_names(["v"]) == [100, 101]
    assert both.get_target_tags(["LV", "RV"]) == [2, 3]


def test_of_several_names_of_one_source_value_the_last_gives_the_target(mapper, caplog):
    conflicting = mapper("labels: {LV: 1, LV_myo: 1}", "labels: {LV: 5, LV_myo: 6}")
    with caplog.at_level(logging.WARNING):
        assert conflicting.get_source_to_target_mapping() == {1: 6}
    assert "the value 1 has several names" in caplog.text
    assert "'LV_myo'" in caplog.text


def test_several_names_with_one_target_are_no_conflict(mapper, caplog):
    same = mapper("labels: {LV: 1, LV_myo: 1}", "labels: {LV: 5, LV_myo: 5}")
    assert same.get_source_to_target_mapping() == {1: 5}
    assert caplog.records == []


def test_a_conflicting_standard_is_not_applied(mapper):
    pytest.importorskip("numpy")
    conflicting = mapper("labels: {LV: 1, LV_myo: 1}", "labels: {LV: 5, LV_myo: 6}")
    with pytest.raises(ValueError, match=r"the value 1 has several names, and 'LV_myo' maps to 6"):
        conflicting.apply([1])


def test_a_swap_is_applied_at_once(mapper):
    pytest.importorskip("numpy")
    swap = mapper("labels: {LV: 1, RV: 2}", "labels: {LV: 2, RV: 1}")
    assert swap.apply([[0, 1], [2, 1]]).tolist() == [[0, 2], [1, 2]]


def test_a_collision_names_the_structure_and_counts_its_voxels(mapper):
    pytest.importorskip("numpy")
    half = mapper("labels: {LV: 1, spinal_cord: 79}", "labels: {LV: 79}")
    with pytest.raises(
        ValueError, match=r"79 \(spinal_cord\), present 3 times, which is LV in the target"
    ):
        half.apply([1, 79, 79, 79])
    assert half.apply([1, 79, 79, 79], collisions="allow").tolist() == [79] * 4
    assert half.apply([1, 79, 79, 79], unmapped="zero").tolist() == [79, 0, 0, 0]
