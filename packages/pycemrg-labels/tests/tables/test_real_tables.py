"""Tables as they are found in public repositories, where they are at hand; none is part of this."""

import os
from pathlib import Path

import pytest

from pycemrg.data.tables import read_table


@pytest.fixture(scope="module")
def tables():
    """The folder ``label-tables`` of the real data."""
    named = os.environ.get("PYCEMRG_REAL_DATA")
    beside = [folder / "shared" / "real" for folder in Path(__file__).resolve().parents]
    for folder in [Path(named)] if named else beside:
        if (folder / "label-tables").is_dir():
            return folder / "label-tables"
    pytest.skip("no real data: PYCEMRG_REAL_DATA names no folder with label-tables/")


@pytest.mark.parametrize(
    ("file", "count", "some"),
    [
        # Counted with grep: the lines that start with a digit.
        ("FreeSurferColorLUT.txt", 1292, {"Unknown": 0, "Left-Thalamus-Proper*": 10}),
        ("bids_desc-carpet_dseg.tsv", 117, {"Brain-Stem": 5, "Cerebellum and Midbrain": 255}),
        ("itksnap_totalseg_labels.txt", 118, {"Clear Label": 0, "costal_cartilages": 117}),
        ("nnunet_v1_Task02_Heart_dataset.json", 2, {"background": 0, "heart": 1}),
        ("nnunet_v2_Dataset027_ACDC_dataset.json", 4, {"background": 0, "RV": 1, "LVC": 3}),
        ("slicer_hncma-atlas-lut.ctbl", 344, {"skin": 3, "right_superior_temporal_sulcus": 5022}),
        ("slicer_totalseg.ctbl", 118, {"background": 0, "sternum": 116}),
    ],
)
def test_a_real_table_is_read(tables, file, count, some):
    labels = read_table(tables / file)
    assert len(labels) == count
    assert {name: labels.get_value(name) for name in some} == some
    assert labels.problems() == []


def test_every_real_table_is_read(tables):
    assert [path.name for path in tables.iterdir() if not len(read_table(path))] == []


def test_real_colours_are_read(tables):
    assert read_table(tables / "FreeSurferColorLUT.txt").colors["Left-Caudate"] == "#7abadc"
    assert read_table(tables / "slicer_totalseg.ctbl").colors["spleen"] == "#8aea93"
    assert read_table(tables / "itksnap_totalseg_labels.txt").colors["spleen"] == "#8aea93"
