import subprocess
import sys

import pytest

from pycemrg.data.tables import FORMATS, read_table, write_table

TEXTS = {
    "slicer_color": ("lv.txt", "# Color table file\n1 LV 1 2 3 255\n"),
    "itksnap": ("lv.txt", '1 1 2 3 1 1 1 "LV"\n'),
    "freesurfer": ("lv.txt", "#No. Label Name: R G B A\n1 LV 1 2 3 0\n"),
    "nnunet": ("lv.json", '{"modality": {"0": "CT"}, "labels": {"1": "LV"}}'),
    "totalsegmentator": ("lv.json", '{"1": "LV"}'),
    "slicer_csv": ("lv.csv", "LabelValue,Name\n1,LV\n"),
    "bids": ("lv.TSV", "index\tname\n1\tLV\n"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_table_is_read_by_its_name_and_its_content(table, name):
    file, text = TEXTS[name]
    assert dict(read_table(table(text, file)).labels) == {"LV": 1}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_reads_and_writes(table, standard, out, name):
    file, text = TEXTS[name]
    assert dict(read_table(table(text, file), name).labels) == {"LV": 1}
    write_table(standard({"LV": 1}), out(".json"), name)
    assert read_table(out(".json"), format=name).get_value("LV") == 1


@pytest.mark.parametrize(
    ("suffix", "name"),
    [
        (".ctbl", "slicer_color"),
        (".csv", "slicer_csv"),
        (".label", "itksnap"),
        (".lut", "freesurfer"),
        (".CTAB", "freesurfer"),
        (".tsv", "bids"),
        (".py", "totalsegmentator"),
    ],
)
def test_a_table_is_written_by_the_end_of_its_name(heart, out, suffix, name):
    write_table(heart, out(suffix))
    written = out(suffix).read_bytes()
    FORMATS[name].load().write(heart, out(suffix), overwrite=True)
    assert out(suffix).read_bytes() == written


@pytest.mark.parametrize(
    ("suffix", "names"),
    [(".txt", "slicer_color, itksnap, freesurfer"), (".json", "nnunet, totalsegmentator")],
)
def test_an_end_that_formats_share_does_not_say_which_to_write(heart, out, suffix, names):
    with pytest.raises(ValueError, match=rf"may be in any of .*; pass format= one of: {names}$"):
        write_table(heart, out(suffix))
    assert not out(suffix).exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("a.txt", "1 LV 1 2 3 128\n", id="opacity or transparency"),
        pytest.param("a.txt", "LV = 1\n", id="something else"),
        pytest.param("a.txt", "", id="empty"),
        pytest.param("a.json", '{"a": 1}', id="other JSON"),
        pytest.param("a.json", "{", id="broken JSON"),
    ],
)
def test_content_that_shows_nothing_is_refused_with_the_formats(table, name, text):
    with pytest.raises(ValueError, match=rf"^{name} does not show which .*; pass format= one of: "):
        read_table(table(text, name))


def test_content_that_two_formats_claim_is_refused_with_both(table, monkeypatch):
    monkeypatch.setattr(FORMATS["itksnap"].load(), "recognises", lambda text: True)
    file, text = TEXTS["freesurfer"]
    with pytest.raises(ValueError, match=r"pass format= one of: itksnap, freesurfer$"):
        read_table(table(text, file))


@pytest.mark.parametrize("suffix", [".xlsx", ""])
def test_an_unknown_end_is_refused_with_all_formats(heart, out, suffix):
    for call in (lambda: read_table(out(suffix)), lambda: write_table(heart, out(suffix))):
        with pytest.raises(ValueError, match=f"no table format ends in '{suffix}'") as caught:
            call()
        assert all(name in str(caught.value) for name in FORMATS)


def test_a_manifest_is_no_table(out):
    with pytest.raises(ValueError, match="LabelManager reads manifests"):
        read_table(out(".yaml"))


def test_an_unknown_format_is_refused_with_near_and_all_formats(out):
    with pytest.raises(ValueError, match=r"'slicer-csv' \(did you mean 'slicer_csv'") as caught:
        read_table(out(".csv"), "slicer-csv")
    assert all(name in str(caught.value) for name in FORMATS)


def test_a_missing_file_is_no_guess(tmp_path):
    for name in ("a.txt", "a.json", "a.csv"):
        with pytest.raises(FileNotFoundError):
            read_table(tmp_path / name)


def test_an_existing_file_is_replaced_only_when_told(heart, out):
    out(".tsv").write_text("precious")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write_table(heart, out(".tsv"))
    assert out(".tsv").read_text() == "precious"
    write_table(heart, out(".tsv"), overwrite=True)
    assert len(read_table(out(".tsv"))) == 4


def test_a_format_is_imported_when_it_is_needed():
    program = (
        "import sys, pycemrg.data.tables\n"
        "print([m for m in sys.modules if m.endswith(tuple(pycemrg.data.tables.FORMATS))])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_formats_cannot_be_changed():
    with pytest.raises(TypeError):
        FORMATS["x"] = FORMATS["bids"]
