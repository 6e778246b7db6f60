import pytest

from pycemrg.data.tables.color_rows import convention, unblanked


@pytest.mark.parametrize(
    ("text", "program"),
    [
        pytest.param("# Color table file x\n1 LV 1 2 3 0\n", "slicer", id="header of Slicer"),
        pytest.param("# Slicer color file\n1 LV 1 2 3 0 4\n", "slicer", id="old header of Slicer"),
        pytest.param("#No. Label Name: R G B A\n1 LV 1 2 3 255\n", "freesurfer", id="FreeSurfer"),
        pytest.param("#$Id: FreeSurferColorLUT.txt\n1 a 1 2 3 9\n", "freesurfer", id="its Id"),
        pytest.param("0 b 0 0 0 0\n1 LV 1 2 3 255\n", "slicer", id="opaque by 255"),
        pytest.param("0 b 0 0 0 255\n1 LV 1 2 3 0\n", "freesurfer", id="opaque by 0"),
        pytest.param("1 LV 1 2 3 128\n2 RV 1 2 3 128 7\n", "freesurfer", id="a seventh column"),
        pytest.param("1 LV 1 2 3 128\n2 RV 1 2 3 0\n", None, id="both would do"),
        pytest.param("0 b 0 0 0 0\n", None, id="background only"),
        pytest.param('1 2 3 4 1 1 1 "LV"\n', None, id="ITK-SNAP"),
        pytest.param("# nothing\n", None, id="no row"),
        pytest.param("LV = 1\n", None, id="something else"),
        pytest.param(f"{'9' * 5000} LV 1 2 3 0\n", None, id="an endless number"),
    ],
)
def test_the_program_is_told_by_header_columns_and_opacity(text, program):
    assert convention(text) == program


def test_blanks_become_underscores_but_no_break_spaces_stay():
    assert unblanked("a b\tc\u00a0d\n") == "a_b_c\u00a0d_"
