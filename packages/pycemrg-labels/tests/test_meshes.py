import random
import re
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")

from pycemrg.data import LabelManager, LabelMapper  # noqa: E402
from pycemrg.data.formats import elem  # noqa: E402
from pycemrg.data.meshes import count_tags, relabel_mesh  # noqa: E402

NODES = {"Cx": 2, "Ln": 2, "Tr": 3, "Qd": 4, "Tt": 4, "Py": 5, "Pr": 6, "Hx": 8}


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def mapper_of(mapping):
    """Return a mapper with labels named after their source value."""
    source = {f"was_{value}": value for value in mapping}
    target = {f"was_{value}": result for value, result in mapping.items()}
    return LabelMapper(
        LabelManager.from_dict({"labels": source}), LabelManager.from_dict({"labels": target})
    )


def line_by_line(content, mapping):
    """Replace the last word of every line but the first, and nothing else."""
    header, *lines = content.splitlines(keepends=True)
    changed = [header]
    for line in lines:
        rest, tag, blank = re.fullmatch(rb"(.*?)(\S*)(\s*)", line, re.DOTALL).groups()
        if tag and mapping.get(int(tag), int(tag)) != int(tag):
            tag = b"%d" % mapping[int(tag)]
        changed.append(rest + tag + blank)
    return b"".join(changed)


@pytest.fixture
def relabelled(tmp_path):
    """Relabels the bytes of a mesh and returns the bytes of the result."""

    def run(content, mapping, **options):
        (tmp_path / "in.elem").write_bytes(content)
        target = relabel_mesh(
            tmp_path / "in.elem", tmp_path / "out.elem", mapper_of(mapping), **options
        )
        assert target == tmp_path / "out.elem"
        return target.read_bytes()

    return run


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(
            b"3\nTt 0 1 2 3 51\nTt 1 2 3 4 118\nTt 2 3 4 5 51\n",
            b"3\nTt 0 1 2 3 118\nTt 1 2 3 4 51\nTt 2 3 4 5 118\n",
            id="swap that changes the number of digits",
        ),
        pytest.param(
            b"8\nCx 0 51 51\nLn 0 51 51\nTr 0 1 51 51\nQd 0 1 2 51 51\nTt 0 1 2 51 51\n"
            b"Py 0 1 2 3 51 51\nPr 0 1 2 3 4 51 51\nHx 0 1 2 3 4 5 6 51 51\n",
            b"8\nCx 0 51 118\nLn 0 51 118\nTr 0 1 51 118\nQd 0 1 2 51 118\nTt 0 1 2 51 118\n"
            b"Py 0 1 2 3 51 118\nPr 0 1 2 3 4 51 118\nHx 0 1 2 3 4 5 6 51 118\n",
            id="every type of element, a node like a tag",
        ),
        pytest.param(
            b"  2 \r\nTt 0 1 2 3 51\r\nTt 1 2 3 4 118\r\n",
            b"  2 \r\nTt 0 1 2 3 118\r\nTt 1 2 3 4 51\r\n",
            id="carriage returns",
        ),
        pytest.param(
            b"3\n Tt  0 1\t2 3   51 \nTr 1 2 3\t118\t \n\tTt 2 3 4 5 51\n",
            b"3\n Tt  0 1\t2 3   118 \nTr 1 2 3\t51\t \n\tTt 2 3 4 5 118\n",
            id="blanks of all sorts",
        ),
        pytest.param(
            b"2\nTt 0 1 2 3 51\nTt 1 2 3 4 118",
            b"2\nTt 0 1 2 3 118\nTt 1 2 3 4 51",
            id="no newline at the end",
        ),
        pytest.param(
            b"2\nTt 0 1 2 3 51\n\nTt 1 2 3 4 118\n \n\n",
            b"2\nTt 0 1 2 3 118\n\nTt 1 2 3 4 51\n \n\n",
            id="empty lines",
        ),
        pytest.param(
            b"3\nTr 0 1 2 0051\nTr 1 2 3 +118\nTr 1 2 3 007\n",
            b"3\nTr 0 1 2 118\nTr 1 2 3 51\nTr 1 2 3 007\n",
            id="signs and zeros, kept where nothing changes",
        ),
        pytest.param(
            b"4\nTr 0 1 2 -5\nTr 1 2 3 1234567\nTr 2 3 4 99999999999\nTr 3 4 5 51\n",
            b"4\nTr 0 1 2 1234567\nTr 1 2 3 -5\nTr 2 3 4 0\nTr 3 4 5 118\n",
            id="negative and large",
        ),
        pytest.param(b"0\n", b"0\n", id="no elements"),
        pytest.param(b"0", b"0", id="no elements, no newline"),
    ],
)
def test_only_the_tags_change(relabelled, before, after):
    mapping = {51: 118, 118: 51, -5: 1234567, 1234567: -5, 99999999999: 0}
    assert relabelled(before, mapping, collisions="allow") == after


@pytest.mark.parametrize("block", [100, 1000, elem.BLOCK], ids="blocks of {} bytes".format)
@pytest.mark.parametrize("kind", ["one type", "mixed types", "mixed types and blanks"])
def test_a_random_mesh_is_as_if_done_line_by_line(relabelled, monkeypatch, kind, block):
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    values = [0, 7, 51, 118, 1190, 65_535, 65_536, 123456, -3]
    mapping = dict(zip(values, rng.sample(values, len(values)), strict=True))
    lines = []
    for _ in range(rng.randrange(1, 3000)):
        name = "Tt" if kind == "one type" else rng.choice([*NODES])
        words = [name, *(rng.randrange(10**6) for _ in range(NODES[name])), rng.choice(values)]
        blanks = kind.endswith("blanks")
        gaps = [rng.choice([" ", "  ", "\t"]) if blanks else " " for _ in words[1:]]
        end = rng.choice(["\n", "\r\n", " \n"]) if blanks else "\n"
        text = "".join(str(part) for pair in zip(words, [*gaps, end], strict=True) for part in pair)
        lines.append(text)
    content = "".join([f"{len(lines)}\n", *lines]).encode()
    monkeypatch.setattr(elem, "BLOCK", block)
    result = relabelled(content, mapping)
    assert result == line_by_line(content, mapping), f"seed {seed}"


def test_a_mesh_with_a_tag_for_each_element(relabelled):
    tags = range(55_000, 75_000)
    content = b"20000\n" + b"".join(b"Ln 0 1 %d\n" % tag for tag in tags)
    mapping = {tag: 60_000 - tag for tag in tags}
    assert relabelled(content, mapping, collisions="allow") == line_by_line(content, mapping)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param(b"Tt 0 1 2 3", "no region tag: Tt has 4 nodes", id="no tag"),
        pytest.param(b"Ln 0 1", "no region tag: Ln has 2 nodes", id="line without a tag"),
        pytest.param(b"Tt 0 1 51", "3 numbers, and Tt has 4 nodes and one tag", id="too few"),
        pytest.param(b"Tr 0 1 2 3 51", "5 numbers, and Tr has 3 nodes and one tag", id="too many"),
        pytest.param(b"Tx 0 1 2 3 51", "'Tx 0 1 2 3 51' begins with no element type", id="type"),
        pytest.param(b"Ttt 0 1 2 3 51", "begins with no element type", id="longer type"),
        pytest.param(b"T", "begins with no element type; these are Cx, Ln, Tr", id="one letter"),
        pytest.param(b"1 2 3 4 51", "begins with no element type", id="only numbers"),
        pytest.param(b"Tt 0 1 2 3 LV", "has the tag 'LV', which is not an integer", id="name"),
        pytest.param(b"Tt 0 1 2 3 5.1", "has the tag '5.1', which", id="fraction"),
        pytest.param(b"Tt 0 1 2 3 -", "has the tag '-', which", id="sign alone"),
        pytest.param(b"Tt 0 1 2 3 5-1", "has the tag '5-1', which", id="sign inside"),
        pytest.param(b"Tt 0 1 2 3 1234567890123456789", "has the tag '12345", id="19 digits"),
        pytest.param(b"Tt 0 1 2 3 5\xff", r"has the tag '5\\xff', which", id="no ASCII"),
        pytest.param(b"Tt 0 1 2\x003 51", "a byte 0x00", id="binary"),
    ],
)
@pytest.mark.parametrize("before", [0, 1, 20_000], ids="after {} lines".format)
def test_a_line_that_is_no_tagged_element_is_an_error_with_its_number(
    relabelled, tmp_path, line, said, before
):
    content = b"%d\n" % (before + 2) + before * b"Tt 0 1 2 3 51\n" + line + b"\nTt 0 1 2 3 51\n"
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        relabelled(content, {51: 118})
    assert str(caught.value).startswith(f"{tmp_path / 'in.elem'}:{before + 2}: ")
    assert names_in(tmp_path) == ["in.elem"]


def test_the_nodes_of_a_mesh_without_any_tags_are_not_touched(relabelled, tmp_path):
    content = b"3\n" + 3 * b"Tt 0 1 2 51\n"
    with pytest.raises(ValueError, match=r"in\.elem:2: .* has no region tag"):
        relabelled(content, {51: 118})
    assert (tmp_path / "in.elem").read_bytes() == content


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"", "in.elem:1: expected the number of elements, not ''", id="empty"),
        pytest.param(b"Tt 0 1 2 3 51\n", "in.elem:1: expected the number", id="no header"),
        pytest.param(b"-1\n", "in.elem:1: expected the number", id="negative"),
        pytest.param(b"3\nLn 0 1 5\n", "the first line says 3 elements, and 1 follow", id="short"),
        pytest.param(b"0\nLn 0 1 5\n", "the first line says 0 elements, and 1 follow", id="long"),
        pytest.param(b"1\n" + elem.BLOCK * b" ", "a line is longer than", id="endless line"),
    ],
)
def test_what_is_no_whole_mesh_is_refused(relabelled, content, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        relabelled(content, {5: 6})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param({}, "9, present 2 times, which is was_51 in the target", id="collision"),
        pytest.param({"unmapped": "error"}, "has no target for: 9, present 2 times", id="unmapped"),
    ],
)
def test_a_refusal_says_what_apply_says_and_leaves_the_old_file(tmp_path, options, said):
    mapper = mapper_of({51: 9})
    tags = [51] * 30_000 + [9, 9]
    mesh, old = tmp_path / "in.elem", tmp_path / "out.elem"
    mesh.write_text(f"{len(tags)}\n" + "".join(f"Tr 0 1 2 {tag}\n" for tag in tags))
    old.write_text("the old file")
    with pytest.raises(ValueError, match=said) as refused:
        relabel_mesh(mesh, old, mapper, overwrite=True, **options)
    with pytest.raises(ValueError, match=said) as expected:
        mapper.apply(tags, **options)
    assert str(refused.value) == f"{mesh}: {expected.value}"
    assert old.read_text() == "the old file"
    assert names_in(tmp_path) == ["in.elem", "out.elem"]


@pytest.mark.parametrize(
    ("options", "tags"),
    [
        pytest.param({"collisions": "allow"}, [9, 9, 4], id="allowed collision"),
        pytest.param({"unmapped": "zero"}, [9, 0, 0], id="zero"),
        pytest.param({"unmapped": -1}, [9, -1, -1], id="a value"),
    ],
)
def test_unmapped_tags_become_what_was_asked_for(relabelled, options, tags):
    result = relabelled(b"3\nLn 0 1 51\nLn 0 1 9\nLn 0 1 4\n", {51: 9}, **options)
    assert [int(line.split()[-1]) for line in result.splitlines()[1:]] == tags


def test_one_value_with_two_targets_is_refused(tmp_path):
    source = LabelManager.from_dict({"labels": {"LV": 1, "left_ventricle": 1}})
    target = LabelManager.from_dict({"labels": {"LV": 2, "left_ventricle": 3}})
    (tmp_path / "in.elem").write_text("1\nLn 0 1 1\n")
    with pytest.raises(ValueError, match="the value 1 has several names"):
        relabel_mesh(tmp_path / "in.elem", tmp_path / "out.elem", LabelMapper(source, target))


def test_a_mesh_is_relabelled_in_place_only_when_asked(tmp_path):
    mesh = tmp_path / "heart.elem"
    mesh.write_text("2\nLn 0 1 51\nLn 1 2 118\n")
    mapper = mapper_of({51: 118, 118: 51})
    with pytest.raises(FileExistsError, match="overwrite=True"):
        relabel_mesh(mesh, mesh, mapper)
    relabel_mesh(mesh, mesh, mapper, overwrite=True)
    assert mesh.read_text() == "2\nLn 0 1 118\nLn 1 2 51\n"
    assert names_in(tmp_path) == ["heart.elem"]


def test_the_formats_must_be_known_and_the_same(tmp_path):
    mapper = mapper_of({1: 2})
    with pytest.raises(ValueError, match=r"meshes are read from \.elem, \.vtk, \.vtu, \.vtp, not"):
        relabel_mesh(tmp_path / "heart.pts", tmp_path / "out.elem", mapper)
    with pytest.raises(ValueError, match=r"must end in \.elem"):
        relabel_mesh(tmp_path / "heart.elem", tmp_path / "out.vtk", mapper)
    with pytest.raises(FileNotFoundError, match=r"heart\.elem"):
        relabel_mesh(tmp_path / "heart.elem", tmp_path / "out.elem", mapper)
    assert names_in(tmp_path) == []


def test_paths_may_be_text_and_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in.elem").write_text("1\nLn 0 1 1\n")
    result = relabel_mesh("in.elem", "new/out.elem", mapper_of({1: 2}))
    assert result == tmp_path / "new" / "out.elem"
    assert result.read_text() == "1\nLn 0 1 2\n"


def test_tags_are_counted(tmp_path):
    tags = random.Random(3).choices([-1, 0, 51, 118, 70_000], k=40_000)
    mesh = tmp_path / "heart.elem"
    mesh.write_text(f"{len(tags)}\n" + "".join(f"Tr 7 8 9 {tag}\n" for tag in tags))
    assert list(count_tags(mesh).items()) == sorted(Counter(tags).items())


def test_progress_is_told_in_bytes_up_to_the_end(tmp_path):
    mesh = tmp_path / "heart.elem"
    mesh.write_text("50000\n" + 50_000 * "Tr 7 8 9 1\n")
    told = []
    relabel_mesh(mesh, mesh, mapper_of({1: 2}), overwrite=True, progress=lambda *x: told.append(x))
    assert len(told) > 1
    assert told == sorted(told)
    assert told[-1] == (mesh.stat().st_size, mesh.stat().st_size)


def test_a_large_mesh_needs_little_memory(tmp_path):
    mesh = tmp_path / "large.elem"
    mesh.write_bytes(b"600000\n" + 600_000 * b"Tt 1000001 1000002 1000003 1000004 51\n")
    assert mesh.stat().st_size > 22e6
    tracemalloc.start()
    relabel_mesh(mesh, tmp_path / "out.elem", mapper_of({51: 118}))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6


def test_without_numpy_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ImportError, match=r"pip install 'pycemrg-labels\[meshes\]'"):
        count_tags(tmp_path / "heart.elem")
