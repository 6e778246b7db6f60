import pytest

from pycemrg.data.tables.regions import as_regions, with_regions


def drawn(content):
    """What nnU-Net makes of a perfect prediction: {value of a voxel: value that it gets}."""
    labels, order = content["labels"], content["regions_class_order"]
    regions = [
        {*region} if isinstance(region, list) else {region}
        for name, region in labels.items()
        if name not in ("background", "ignore")
    ]
    assert len(order) == len(regions)
    result = {}
    for value in set().union(*regions):
        for region, drawn_with in zip(regions, order, strict=True):
            if value in region:
                result[value] = drawn_with
    return result


def test_a_perfect_prediction_comes_back_as_it_was():
    groups = {"heart": [1, 2, 3, 4], "left": [1, 3], "right": [2, 4]}
    losses = []
    labels = {"background": 0, "LA": 3, "RV": 2, "ignore": 5}
    content = with_regions(labels, groups, losses)
    assert drawn(content) == {1: 1, 2: 2, 3: 3, 4: 4}
    assert losses == []
    assert list(content["labels"]) == ["background", "heart", "left", "right", "LA", "RV", "ignore"]


def test_values_that_no_region_singles_out_are_reported():
    losses = []
    content = with_regions({"background": 0, "c": 3}, {"ab": [1, 2]}, losses)
    assert drawn(content) == {1: 1, 2: 1, 3: 3}
    assert losses == ["nnU-Net cannot give back 2: the regions do not single them out"]


def test_groups_that_can_be_no_region_are_reported(standard):
    labels = standard(
        {"background": 0, "LV": 1, "RV": 2, "ignore": 3},
        groups={
            "both": ["LV", "2"],
            "one": ["LV"],
            "none": [],
            "everything": ["both", "background"],
            "rest": ["LV", "ignore"],
            "LV": ["LV", "RV"],
        },
    )
    losses = []
    assert as_regions(labels, losses) == {"both": [1, 2]}
    (loss,) = losses
    assert loss.startswith("a region of nnU-Net has a name of its own and several values, without")
    assert loss.endswith(": lost are 'one', 'none', 'everything', 'rest', 'LV'")


def test_larger_regions_come_first(standard):
    groups = {"two": ["1", "2"], "four": ["1", "2", "3", "4"], "three": ["2", "3", "4"]}
    found = as_regions(standard({}, groups=groups), [])
    assert list(found) == ["four", "three", "two"]


@pytest.mark.parametrize(
    ("groups", "error"), [({"g": ["nobody"]}, KeyError), ({"g": ["h"], "h": ["g"]}, ValueError)]
)
def test_a_broken_group_is_an_error(standard, groups, error):
    with pytest.raises(error):
        as_regions(standard({"LV": 1}, groups=groups), [])
