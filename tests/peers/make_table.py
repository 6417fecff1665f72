"""Writes the Parquet file that the tests read: every kind of column, with values missing, in several groups of rows.

    python tests/peers/make_table.py      (needs pyarrow; 26.0 wrote the file that is kept)
"""
import decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = range(2500)


def column(value, kind):
    return pa.array([None if row % 7 == 3 else value(row) for row in ROWS], kind)


table = pa.table({
    "double": column(lambda row: row / 3, pa.float64()),
    "float": column(lambda row: row + 0.5, pa.float32()),
    "int8": column(lambda row: row % 100 - 50, pa.int8()),
    "int64": column(lambda row: row * 10**12, pa.int64()),
    "uint64": column(lambda row: 18 * 10**18 + 2048 * row, pa.uint64()),
    "bool": column(lambda row: row % 2 == 1, pa.bool_()),
    "decimal": column(lambda row: decimal.Decimal(row - 1000) / 100, pa.decimal128(20, 2)),
    "list": column(lambda row: [row], pa.list_(pa.int32())),
    "word": column(lambda row: f"wörd {row % 11}", pa.string()),
    "dictionary": column(lambda row: f"wörd {row % 11}", pa.string()).dictionary_encode(),
    "small": pa.array([row % 300 for row in ROWS], pa.uint16()),
}, schema=None)
fields = [field.with_nullable(field.name != "small") for field in table.schema]
path = Path(__file__).parents[2] / "app/tests/program/fixtures/columns.parquet"
pq.write_table(table.cast(pa.schema(fields)), path, row_group_size=1000, compression={
    name: ["snappy", "zstd", "gzip", "none"][at % 4] for at, name in enumerate(table.column_names)
} | {"list.list.element": "none"}, data_page_size=1024, use_dictionary=["dictionary", "int8", "word"],
    data_page_version="2.0")
print(path, path.stat().st_size, pa.__version__)
