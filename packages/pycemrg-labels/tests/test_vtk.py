import base64
import lzma
import re
import zlib

import pytest

np = pytest.importorskip("numpy")

from pycemrg.data import LabelManager, LabelMapper  # noqa: E402
from pycemrg.data.meshes import count_tags, relabel_mesh  # noqa: E402


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def mapper_of(mapping):
    """Return a mapper with labels named after their source value."""
    source = {f"was_{value}": value for value in mapping}
    target = {f"was_{value}": result for value, result in mapping.items()}
    return LabelMapper(
        LabelManager.from_dict({"labels": source}), LabelManager.from_dict({"labels": target})
    )


def relabelled(path, content, mapping, **options):
    path.write_bytes(content)
    target = relabel_mesh(path, path.with_stem("out"), mapper_of(mapping), **options)
    return target.read_bytes()


def legacy(kind, *cell_data, before=b"", after=b""):
    return b"".join(
        [
            b"# vtk DataFile Version 3.0\nCELL_DATA 2 is only the title\n" + kind + b"\n",
            b"DATASET UNSTRUCTURED_GRID\n" + before,
            b"CELL_DATA 2\n",
            *cell_data,
            after,
        ]
    )


def big_endian(*values, dtype="i4"):
    return np.array(values, f">{dtype}").tobytes()


@pytest.mark.parametrize(
    ("header", "values", "new_header", "new_values"),
    [
        pytest.param(
            b"SCALARS elemTag int 1\nLOOKUP_TABLE default\n",
            b"51\n118\n",
            None,
            b"118\n7\n",
            id="scalars",
        ),
        pytest.param(b"SCALARS elemTag int\n", b" 51  118 \n", None, b" 118  7 \n", id="no table"),
        pytest.param(
            b"FIELD FieldData 2\nother 1 2 double\n51 118\nelemTag 1 2 int\n",
            b"51 118 \n",
            None,
            b"118 7 \n",
            id="field",
        ),
        pytest.param(
            b"SCALARS elemTag char 1\r\nLOOKUP_TABLE default\r\n",
            b"51\r\n118\r\n",
            None,
            b"118\r\n7\r\n",
            id="carriage returns",
        ),
        pytest.param(
            b"SCALARS elemTag float 1\nLOOKUP_TABLE default\n",
            b"51.0\n1.18e2\n",
            None,
            b"118\n7\n",
            id="integral floats",
        ),
    ],
)
def test_an_array_of_a_legacy_text_file_changes_and_nothing_else(
    tmp_path, header, values, new_header, new_values
):
    points = b"POINT_DATA 2\nSCALARS elemTag int 1\nLOOKUP_TABLE default\n51\n118\n"
    field = b"FIELD FieldData 1\nelemTag 1 2 int\n51 118\n"
    rest = b"SCALARS elemTagOld int 1\nLOOKUP_TABLE elemTag\n51\n118\n"
    content = legacy(b"ASCII", header, values, rest, before=field, after=points)
    expected = legacy(b"ASCII", header, new_values, rest, before=field, after=points)
    assert relabelled(tmp_path / "in.vtk", content, {51: 118, 118: 7}) == expected
    assert count_tags(tmp_path / "in.vtk") == {51: 1, 118: 1}


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        pytest.param(name, dtype, id=name.decode())
        for name, dtype in {
            b"char": "i1",
            b"unsigned_char": "u1",
            b"short": "i2",
            b"unsigned_short": "u2",
            b"int": "i4",
            b"unsigned_int": "u4",
            b"vtkIdType": "i4",
            b"long": "i8",
            b"vtktypeint64": "i8",
            b"unsigned_long": "u8",
            b"float": "f4",
            b"double": "f8",
        }.items()
    ],
)
def test_an_array_of_a_legacy_binary_file_changes_and_nothing_else(tmp_path, name, dtype):
    points = b"\nPOINT_DATA 2\nSCALARS elemTag int 1\n" + big_endian(51, 118)
    header = b"SCALARS elemTag %s 1\nLOOKUP_TABLE default\n" % name
    other = b"FIELD more 1\nnoise 1 14 char\n" + b"\nelemTag 1 3 \xff\n"
    old, new = big_endian(51, 118, dtype=dtype), big_endian(118, 7, dtype=dtype)
    content = legacy(b"BINARY", other, header, old, after=points)
    result = relabelled(tmp_path / "in.vtk", content, {51: 118, 118: 7})
    assert result == legacy(b"BINARY", other, header, new, after=points)


@pytest.mark.parametrize("kind", [b"ASCII", b"BINARY"], ids=["text", "binary"])
def test_a_legacy_array_gets_the_type_that_it_needs(tmp_path, kind):
    old, new = (b"1 255", b"40000 255") if kind == b"ASCII" else (b"\1\xff", b"\x9c\x40\0\xff")
    content = legacy(kind, b"SCALARS elemTag unsigned_char 1\n", old, b"\nSCALARS x int\n")
    result = relabelled(tmp_path / "in.vtk", content, {1: 40_000})
    expected = legacy(kind, b"SCALARS elemTag unsigned_short 1\n", new, b"\nSCALARS x int\n")
    assert result == expected


def test_another_array_can_be_named_whatever_its_name(tmp_path):
    content = legacy(b"ASCII", b"SCALARS elemTag int\n1 1\n", b"FIELD f 1\nmy%20tag 1 2 int\n1 2\n")
    result = relabelled(tmp_path / "in.vtk", content, {1: 2, 2: 1}, array="my tag")
    assert result == content.replace(b"int\n1 2\n", b"int\n2 1\n")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"", "this is no legacy VTK file", id="empty"),
        pytest.param(b"<VTKFile>\n\n\n", "this is no legacy VTK file", id="xml"),
        pytest.param(legacy(b"TEXT"), "is ASCII or BINARY, not 'TEXT'", id="neither"),
        pytest.param(
            legacy(b"ASCII", b"SCALARS a int\n1 2\nVECTORS v int\n1 2\n"),
            "no cell array 'elemTag' of one number per cell; there are: a",
            id="no such array",
        ),
        pytest.param(
            legacy(b"ASCII", b"SCALARS elemTag int 3\n1 2 3 1 2 3\n"),
            "no cell array 'elemTag' of one number per cell",
            id="three components",
        ),
        pytest.param(
            legacy(b"ASCII", after=b"POINT_DATA 2\nSCALARS elemTag int\n1 2\n"),
            "there are: none",
            id="points only",
        ),
        pytest.param(
            legacy(b"ASCII", 2 * b"SCALARS elemTag int\n1 2\n"),
            "there are 2 cell arrays 'elemTag'",
            id="twice",
        ),
        pytest.param(
            legacy(b"ASCII", b"SCALARS elemTag int\n1\n"),
            "2 values are announced, and 1 follow",
            id="text cut off",
        ),
        pytest.param(
            legacy(b"ASCII", b"SCALARS elemTag int\n1 LV\n"),
            "'LV' is not an integer",
            id="no number",
        ),
        pytest.param(
            legacy(b"ASCII", b"SCALARS elemTag float\n1 2.5\n"),
            "must be integral",
            id="fraction",
        ),
        pytest.param(
            legacy(b"ASCII", b"SCALARS elemTag char\n1 200\n"),
            "does not fit the type int8",
            id="too large for its type",
        ),
        pytest.param(
            legacy(b"BINARY", b"SCALARS elemTag double\n", big_endian(1, 2.5, dtype="f8")),
            "must be integral",
            id="binary fraction",
        ),
        pytest.param(
            legacy(b"BINARY", b"SCALARS elemTag int\n", big_endian(1)),
            "the array is not 2 values of 4 bytes",
            id="binary cut off",
        ),
        pytest.param(
            legacy(b"BINARY", b"SCALARS elemTag long\n", big_endian(1, 2), b"\n\0\0\0\0\0\0\0\0"),
            "the array is not 2 values of 8 bytes",
            id="other width",
        ),
        pytest.param(
            legacy(b"ASCII", b"SCALARS elemTag bit\n1 0\n"), "'bit' holds no labels", id="bits"
        ),
    ],
)
def test_a_legacy_file_that_cannot_be_relabelled_says_why(tmp_path, content, said):
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        relabelled(tmp_path / "in.vtk", content, {1: 2})
    assert str(caught.value).startswith(f"{tmp_path / 'in.vtk'}: ")
    assert names_in(tmp_path) == ["in.vtk"]


PIECE = """\
    <Piece NumberOfPoints="3" NumberOfCells="{count}">
      <PointData>
        <DataArray type="Int32" Name="elemTag" format="ascii">51 118 51</DataArray>
      </PointData>
      <CellData Scalars='elemTag'>
        <!-- <DataArray Name="elemTag"/> -->
        <DataArray type="Float64" Name="a > b" {vectors}</DataArray>
        <DataArray type="{type}" Name="elemTag" RangeMin="51"   RangeMax="118" {tags}</DataArray>
        <DataArray Name='my &quot;tag&quot;' type='Int64' {others}</DataArray>
      </CellData>
    </Piece>
"""


class Xml:
    """Writes and reads VTK XML files by the description of the format."""

    def __init__(self, mode, compressor=None, header="UInt32", order="LittleEndian", apart=False):
        self.mode, self.compressor, self.header, self.apart = mode, compressor, header, apart
        self.order = order
        self.byte = "<" if order == "LittleEndian" else ">"
        self.word = self.byte + ("u4" if header == "UInt32" else "u8")
        self.pack = {"vtkZLibDataCompressor": zlib, "vtkLZMADataCompressor": lzma}.get(compressor)

    def numbers(self, *values):
        return np.array(values, self.word).tobytes()

    def code(self, data):
        """Return header and data, each in base64 or not."""
        is_base64 = not self.mode.endswith("raw")
        if self.pack is None:
            parts = [self.numbers(len(data)), data]
            if not (is_base64 and self.apart):
                parts = [b"".join(parts)]
        else:
            blocks = [data[at : at + 16] for at in range(0, len(data), 16)]
            packed = [self.pack.compress(block) for block in blocks]
            sizes = map(len, packed)
            parts = [self.numbers(len(blocks), 16, len(data) % 16, *sizes), b"".join(packed)]
        return b"".join(base64.b64encode(part) if is_base64 else part for part in parts)

    def write(self, *pieces, dtype="i4", name="Int32"):
        self.appended = b""
        texts = []
        for tags in pieces:
            vectors = self.content([0.5] * 7, "f8")
            content = self.content(tags, dtype)
            others = self.content([51, 118], "i8")
            texts.append(
                PIECE.format(
                    count=len(tags), type=name, vectors=vectors, tags=content, others=others
                )
            )
        about = f'type="UnstructuredGrid" byte_order="{self.order}" header_type="{self.header}"'
        if self.compressor:
            about += f' compressor="{self.compressor}"'
        text = f'<?xml version="1.0"?>\n<VTKFile {about}>\n  <UnstructuredGrid>\n'
        text += "".join(texts) + "  </UnstructuredGrid>\n"
        tail = b"</VTKFile>\n"
        if self.mode.startswith("appended"):
            encoding = self.mode.split()[1].encode()
            tail = b'<AppendedData encoding="%s">\n _%s\n </AppendedData>\n%s' % (
                encoding,
                self.appended,
                tail,
            )
        return text.encode() + tail

    def content(self, values, dtype):
        if self.mode == "ascii":
            return f'format="ascii">\n  {" ".join(map(str, values))}\n'
        code = self.code(np.array(values, self.byte + dtype).tobytes())
        if self.mode == "binary":
            return f'format="binary">\n          {code.decode()}\n        '
        offset = len(self.appended)
        self.appended += code
        return f'format="appended" offset="{offset}"  >'


WAYS = [
    Xml("ascii"),
    Xml("binary"),
    Xml("binary", apart=True),
    Xml("binary", header="UInt64", order="BigEndian"),
    Xml("binary", "vtkZLibDataCompressor"),
    Xml("binary", "vtkLZMADataCompressor", header="UInt64"),
    Xml("appended raw"),
    Xml("appended raw", "vtkZLibDataCompressor", order="BigEndian"),
    Xml("appended base64"),
    Xml("appended base64", "vtkZLibDataCompressor", header="UInt64"),
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way.mode} {way.compressor} {way.header}")
@pytest.mark.parametrize("suffix", [".vtu", ".vtp"])
def test_an_array_of_an_xml_file_changes_and_nothing_else(tmp_path, way, suffix):
    pieces = [51, 118, 51, 51, 118, 9, 9], [118, 51]
    content = way.write(*pieces)
    path = tmp_path / f"in{suffix}"
    result = relabelled(path, content, {51: 118, 118: 1007, 9: 51})
    expected = way.write([118, 1007, 118, 118, 1007, 51, 51], [1007, 118])
    for low in (b"51", b"118"):
        old, new = b'"51"   RangeMax="118"', b'"%s"   RangeMax="1007"' % low
        expected = expected.replace(b"RangeMin=" + old, b"RangeMin=" + new, 1)
    assert result == expected
    assert count_tags(path) == {9: 2, 51: 4, 118: 3}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way.mode} {way.compressor} {way.header}")
def test_an_xml_array_gets_the_type_that_it_needs_and_offsets_move(tmp_path, way):
    content = way.write([51, 118, 250], [118], dtype="u1", name="UInt8")
    result = relabelled(tmp_path / "in.vtu", content, {51: 300, 118: 51})
    expected = way.write([300, 51, 250], [51], dtype="u2", name="UInt16")
    for low, high in ((51, 300), (51, 51)):
        old, new = b'"51"   RangeMax="118"', b'"%d"   RangeMax="%d"' % (low, high)
        expected = expected.replace(b"RangeMin=" + old, b"RangeMin=" + new, 1)
    assert result == expected


def test_another_xml_array_can_be_named_whatever_its_name(tmp_path):
    content = Xml("ascii").write([1, 1])
    result = relabelled(tmp_path / "in.vtu", content, {51: 2}, array='my "tag"')
    (before, after) = (b'Int64\' format="ascii">\n  %d 118\n' % value for value in (51, 2))
    assert result == content.replace(before, after)
    assert before in content


def test_a_refusal_counts_all_pieces(tmp_path):
    with pytest.raises(ValueError, match="9, present 3 times, which is was_51"):
        relabelled(tmp_path / "in.vtu", Xml("ascii").write([51, 9, 9], [9]), {51: 9})
    assert names_in(tmp_path) == ["in.vtu"]


def damaged(way, old, new):
    content = way.write([51, 118])
    assert old in content
    return content.replace(old, new)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"", "this is no VTK XML file", id="empty"),
        pytest.param(b"# vtk DataFile Version 3.0\n", "this is no VTK XML file", id="legacy"),
        pytest.param(
            damaged(Xml("ascii"), b'"elemTag" R', b'"tags" R'),
            "no cell array 'elemTag'; there are: a > b, my \"tag\", tags",
            id="no such array",
        ),
        pytest.param(
            damaged(Xml("ascii"), b' RangeMin="51"', b' NumberOfComponents="3"'),
            "'elemTag' has 3 numbers per cell",
            id="components",
        ),
        pytest.param(
            damaged(Xml("ascii"), b'"Int32" Name="elemTag" R', b'"Bit" Name="elemTag" R'),
            "the type 'Bit' holds no labels",
            id="type",
        ),
        pytest.param(
            Xml("ascii").write([51, 1.5]), "'1.5' is not an integer", id="fraction among integers"
        ),
        pytest.param(
            Xml("ascii").write([51, 1.5], dtype="f4", name="Float32"),
            "must be integral",
            id="fraction",
        ),
        pytest.param(
            damaged(Xml("binary"), b"CAAAADMAAAB2AAAA", b"CAAAADMAAAB2"),
            "the array is cut off: 12 bytes expected, 9 left",
            id="cut off",
        ),
        pytest.param(
            damaged(Xml("binary"), b"CAAAADMAAAB2AAAA", b"CAAAADMAAAB2AA?A"),
            "the array is damaged",
            id="no base64",
        ),
        pytest.param(
            damaged(Xml("binary"), b"CAAAADMAAAB2AAAA", b"BAAAADMAAAB2AAAA"),
            "4 characters follow the array",
            id="more than announced",
        ),
        pytest.param(
            Xml("appended raw", "vtkLZ4DataCompressor").write([51, 118]),
            "compressed by vtkLZ4DataCompressor; save it with one of: vtkZLibDataCompressor",
            id="LZ4",
        ),
        pytest.param(
            damaged(Xml("ascii"), b"51 118\n</DataArray>", b"51\n</DataArray>"),
            "'elemTag' has 1 values for 2 cells; was the file cut off?",
            id="less values than cells",
        ),
        pytest.param(
            damaged(Xml("ascii"), b'NumberOfCells="2"', b'NumberOfPolys="1" NumberOfLines="0"'),
            "'elemTag' has 2 values for 1 cells",
            id="more values than polygons and lines",
        ),
        pytest.param(
            Xml("ascii").write([51, 118]).partition(b"118\n</DataArray>")[0] + b"118",
            "the file is cut off: an array has no end",
            id="text cut off",
        ),
        pytest.param(
            Xml("ascii").write([51, 10**18], dtype="i8", name="Int64"),
            "'1000000000000000000' is not an integer of up to 18 digits",
            id="too many digits",
        ),
        pytest.param(
            damaged(Xml("appended raw"), b"<AppendedData", b"<Appended"),
            "'elemTag' is not in the appended data",
            id="no appended data",
        ),
        pytest.param(
            damaged(Xml("appended raw", "vtkZLibDataCompressor"), b"x\x9c", b"x\x9d"),
            "the array is damaged",
            id="no zlib",
        ),
    ],
)
def test_an_xml_file_that_cannot_be_relabelled_says_why(tmp_path, content, said):
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        relabelled(tmp_path / "in.vtu", content, {51: 2})
    assert str(caught.value).startswith(f"{tmp_path / 'in.vtu'}: ")
    assert names_in(tmp_path) == ["in.vtu"]
