"""Label standards as they are published, where they are at hand; none is part of the project."""

import nibabel
import numpy as np
import pytest
import yaml

from pycemrg.data import LabelManager, LabelMapper
from pycemrg.data.counting import count_values
from pycemrg.data.volumes import read_labels


@pytest.fixture(scope="module")
def mapper(real):
    manifests = real / "manifests"
    return LabelMapper(
        LabelManager(manifests / "totalseg_v2.yaml"), LabelManager(manifests / "totalseg_v1.yaml")
    )


def plain(path):
    return yaml.safe_load(path.read_text())["labels"]


def test_every_standard_loads_as_a_plain_reader_has_it(real):
    files = [*real.glob("manifests/*.yaml"), *real.glob("manifests/*/*_labels.yaml")]
    standards = [path for path in files if "labels" in yaml.safe_load(path.read_text())]
    assert len(standards) > 15
    for path in standards:
        assert dict(LabelManager(path).labels) == {str(k): v for k, v in plain(path).items()}
        assert [p for p in LabelManager(path).problems() if p.severity == "error"] == []


def test_the_report_tells_what_two_releases_of_a_standard_share(real, mapper):
    new = plain(real / "manifests" / "totalseg_v2.yaml")
    old = plain(real / "manifests" / "totalseg_v1.yaml")
    report = mapper.report()
    matched = {name for name, _, _ in [*report.changed, *report.unchanged]}
    assert matched == new.keys() & old.keys()
    assert len(matched) == 97
    assert {name for name, _ in report.only_in_source} == new.keys() - old.keys()
    assert len(report.only_in_source) == 20
    assert ("spinal_cord", 79, "rib_right_10") in report.colliding


def test_a_real_segmentation_is_refused_for_the_one_collision_in_it(real, mapper):
    path = real / "volumes" / "example_seg.nii.gz"
    labels = np.asarray(nibabel.load(path).dataobj)
    cord = int((labels == 79).sum())
    with pytest.raises(
        ValueError, match=rf"79 \(spinal_cord\), present {cord} times, which is rib"
    ):
        mapper.apply(labels)
    assert mapper.report(count_values(read_labels(path).array)).colliding == [
        ("spinal_cord", 79, "rib_right_10")
    ]


def test_a_real_segmentation_equals_a_look_up_of_every_voxel(real, mapper):
    labels = np.asarray(nibabel.load(real / "volumes" / "example_seg.nii.gz").dataobj)
    new = plain(real / "manifests" / "totalseg_v2.yaml")
    old = plain(real / "manifests" / "totalseg_v1.yaml")
    by_value = {value: old[name] for name, value in new.items() if name in old}
    wanted = [by_value.get(value, 0) for value in labels.ravel().tolist()]
    result = mapper.apply(labels, unmapped="zero")
    assert result.dtype == labels.dtype
    assert result.ravel().tolist() == wanted
