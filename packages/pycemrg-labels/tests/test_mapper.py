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


def test_a_pair_resolves_a_conflict(mapper):
    source, target = standard({"old": 1, "LV": 1}), standard({"old": 5, "LV": 6})
    with pytest.raises(ValueError, match="or map them to one with pairs="):
        LabelMapper(source, target).apply([1])
    assert LabelMapper(source, target, pairs={"old": "LV"}).apply([1]).tolist() == [6]


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


def standard(labels, **more):
    return LabelManager.from_dict({"labels": labels, **more})


def test_pairs_join_labels_of_different_names_and_win_over_equal_ones():
    source, target = standard({"LV": 1, "RV": 2}), standard({"LV_myo": 10, "RV": 20, "LV": 30})
    paired = LabelMapper(source, target, pairs={"LV": "LV_myo"})
    assert paired.get_source_to_target_mapping() == {1: 10, 2: 20}


@pytest.mark.parametrize("pairs", [{"LVV": "LV_myo"}, {"LV": "LV_mio"}])
def test_a_pair_of_a_label_that_is_not_there_is_a_key_error(pairs):
    with pytest.raises(KeyError, match=r"pairs: no label named 'LV.*did you mean"):
        LabelMapper(standard({"LV": 1}), standard({"LV_myo": 1}), pairs=pairs)


@pytest.mark.parametrize(
    ("source_aliases", "target_aliases"),
    [
        pytest.param({"LV": ["LV_myo"]}, {}, id="the source knows the target's name"),
        pytest.param({}, {"LV_myo": ["x", "LV"]}, id="the target knows the source's name"),
        pytest.param({"LV": ["left"]}, {"LV_myo": ["left"]}, id="both know a third name"),
    ],
)
def test_declared_aliases_join_labels(source_aliases, target_aliases):
    joined = LabelMapper(
        standard({"LV": 1}, aliases=source_aliases), standard({"LV_myo": 7}, aliases=target_aliases)
    )
    assert joined.get_source_to_target_mapping() == {1: 7}


def test_an_exact_name_wins_over_an_alias():
    source = standard({"LV": 1}, aliases={"LV": ["RV"]})
    assert LabelMapper(source, standard({"RV": 5, "LV": 6})).get_source_to_target_mapping() == {
        1: 6
    }


def test_aliases_that_fit_several_labels_are_a_value_error_that_asks_for_a_pair():
    source = standard({"LV": 1}, aliases={"LV": ["LV_myo", "LV_bp"]})
    with pytest.raises(ValueError, match=r"'LV' is each of LV_bp, LV_myo; say which one in pairs"):
        LabelMapper(source, standard({"LV_myo": 1, "LV_bp": 2}))


SOURCE = {"background": 0, "LV": 1, "RV": 2, "septum": 3, "cord": 10, "atrium_left": 5}
TARGET = {"background": 0, "LV": 10, "RV": 10, "rib": 79, "left_atrium": 6, "atrium_lefd": 7}


def test_the_report_tells_what_happens_to_every_label():
    report = LabelMapper(standard(SOURCE), standard(TARGET)).report()
    assert report.unchanged == [("background", 0, 0)]
    assert report.changed == [("LV", 1, 10), ("RV", 2, 10)]
    assert report.only_in_source == [("septum", 3), ("cord", 10), ("atrium_left", 5)]
    assert report.only_in_target == {
        "rib": [],
        "left_atrium": [],
        "atrium_lefd": ["atrium_left"],
    }
    assert report.merged == {10: ["LV", "RV"]}
    assert report.is_lossy
    assert report.colliding == [("cord", 10, "RV")]
    assert report.conflicting == {}
    assert report.unnamed == {}


def test_a_kept_value_with_another_name_in_the_target_is_told_and_not_refused():
    mapper = LabelMapper(standard({"vein": 7, "LV": 1}), standard({"LV": 2, "RV": 7, "aorta": 1}))
    report = mapper.report()
    assert report.same_value == [("vein", 7, "RV")]
    assert report.colliding == []
    assert "same value: vein keeps 7, which the target calls RV" in str(report)
    assert mapper.report({1: 5}).same_value == []
    assert mapper.apply([7, 1]).tolist() == [7, 2]


def test_near_names_are_sought_as_long_as_that_takes_no_time(monkeypatch):
    asked = []
    monkeypatch.setattr("pycemrg.data.report.near_names", lambda *a: asked.append(a) or ["near"])
    source = standard({f"old_{n}": n for n in range(500)})
    report = LabelMapper(source, standard({f"new_{n}": n for n in range(500)})).report()
    assert len(report.only_in_target) == 500
    assert (report.only_in_target["new_0"], report.only_in_target["new_499"]) == (["near"], [])
    assert len(asked) * 500 <= 50_000


def test_the_report_for_an_image_is_about_the_values_in_it():
    report = LabelMapper(standard(SOURCE), standard(TARGET)).report({1: 50, 5: 7, 99: 1234})
    assert report.changed == [("LV", 1, 10)]
    assert report.only_in_source == [("atrium_left", 5)]
    assert report.merged == {}
    assert report.colliding == []
    assert report.unnamed == {99: 1234}
    assert "no name: the value 99, present 1,234 times" in str(report)


def test_the_report_lists_conflicting_names_of_one_value():
    report = LabelMapper(standard({"a": 1, "b": 1}), standard({"a": 5, "b": 6})).report()
    assert report.conflicting == {1: [("a", 5), ("b", 6)]}


def test_two_mappings_become_one_that_does_both_in_one_pass():
    clinical = standard({"LV": 1, "RV": 2, "only": 3})
    atlas = standard({"LV": 2, "RV": 1, "other": 9})
    simulation = standard({"RV": 7, "LV": 1, "other": 8})
    both = LabelMapper(clinical, atlas).then(LabelMapper(atlas, simulation))
    assert both.get_source_to_target_mapping() == {1: 1, 2: 7}
    assert (both.source, both.target) == (clinical, simulation)


def test_a_composition_follows_pairs_on_both_sides():
    first = LabelMapper(standard({"a": 1}), standard({"b": 2}), pairs={"a": "b"})
    second = LabelMapper(standard({"b": 2}), standard({"c": 3}), pairs={"b": "c"})
    assert first.then(second).get_source_to_target_mapping() == {1: 3}


def test_mappings_that_do_not_meet_are_refused():
    first = LabelMapper(standard({"LV": 1}), standard({"LV": 2}))
    second = LabelMapper(standard({"LV": 3}), standard({"LV": 4}))
    with pytest.raises(ValueError, match=r"do not meet: 'LV' is 2 in .* and 3 in"):
        first.then(second)


def test_the_inverse_maps_back():
    mapper = LabelMapper(standard({"LV": 1, "RV": 2}), standard({"LV": 2, "RV": 1}))
    back = mapper.inverse()
    assert back.get_source_to_target_mapping() == {2: 1, 1: 2}
    assert mapper.then(back).get_source_to_target_mapping() == {1: 1, 2: 2}


def test_a_lossy_mapping_has_no_inverse():
    merging = LabelMapper(standard({"LV": 1, "RV": 2}), standard({"LV": 5, "RV": 5}))
    with pytest.raises(ValueError, match="merges labels has no inverse: LV, RV -> 5"):
        merging.inverse()


def test_a_manifest_that_uses_the_key_aliases_for_something_else_is_mapped():
    source, target = standard({"LV": 1}), standard({"LV": 2}, aliases={"myo": "LV"})
    assert LabelMapper(source, target).get_source_to_target_mapping() == {1: 2}
