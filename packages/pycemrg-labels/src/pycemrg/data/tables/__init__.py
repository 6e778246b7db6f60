"""Label tables of other programs, read into a standard and written from one."""

from pycemrg.data.tables.formats import FORMATS, TableFormat, read_table, write_table

__all__ = ["FORMATS", "TableFormat", "read_table", "write_table"]
