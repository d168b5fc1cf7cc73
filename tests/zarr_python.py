"""Holds peerwren's Zarr arrays against zarr-python, the reference implementation.

    zarr_python.py read ARRAY NPY    ARRAY, written by peerwren, has the entries of NPY
    zarr_python.py write NPY ARRAY ROWS COLS
                                     writes NPY as ARRAY in chunks of ROWS x COLS with peerwren's codecs
    zarr_python.py foreign FOLDER    fills FOLDER with arrays NAME.zarr in zarr-python's own ways, and NAME.npy
"""

import os
import sys

import numpy
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, TransposeCodec, ZstdCodec


def read(array, npy):
    ours, expected = zarr.open_array(array, mode="r"), numpy.load(npy)
    assert ours.shape == expected.shape, (ours.shape, expected.shape)
    assert ours.dtype == expected.dtype, (ours.dtype, expected.dtype)
    entries = ours[:]
    # By bits: minus zero is not zero.
    differ = entries.view(numpy.uint64) != expected.view(numpy.uint64)
    assert not differ.any(), f"{differ.sum()} entries differ, first at {numpy.argwhere(differ)[0]}"
    print(f"{array}: {entries.shape} in chunks of {ours.chunks}")


def write(npy, array, rows, cols):
    entries = numpy.load(npy)
    made = zarr.create_array(
        array,
        shape=entries.shape,
        chunks=(int(rows), int(cols)),
        dtype="float64",
        filters=[TransposeCodec(order=(1, 0))],
        serializer=BytesCodec(endian="little"),
        compressors=[Crc32cCodec()],
        fill_value=0.0,
    )
    made[:] = entries


def foreign(folder):
    os.makedirs(folder)
    random = numpy.random.default_rng(1)
    matrix = random.standard_normal((60, 40))
    numbers = random.integers(-100, 100, (60, 40))
    bytes_of = lambda endian: {"serializer": BytesCodec(endian=endian)}
    table = {
        "default": (matrix, {}),
        "chunked": (matrix, {"chunks": (16, 16)}),
        "odd": (matrix, {"chunks": (7, 33)}),
        "gzip": (matrix, {"chunks": (16, 16), "compressors": GzipCodec(level=5)}),
        "checked": (matrix, {"chunks": (16, 16), "compressors": ZstdCodec(level=19, checksum=True)}),
        "both": (matrix, {"chunks": (16, 16), "compressors": [GzipCodec(), Crc32cCodec(), ZstdCodec()]}),
        "plain": (matrix, {"chunks": (16, 16), "compressors": None}),
        "fortran": (matrix, {"chunks": (16, 16), "filters": [TransposeCodec(order=(1, 0))]}),
        "order": (numpy.asfortranarray(matrix), {"chunks": (20, 40), "config": {"order": "F"}}),
        "big": (matrix, {"chunks": (16, 16), **bytes_of("big")}),
        "float32": (matrix.astype("float32"), {"chunks": (16, 16)}),
        "v2keys": (matrix, {"chunks": (16, 16), "chunk_key_encoding": {"name": "v2"}}),
        "dots": (matrix, {"chunks": (16, 16), "chunk_key_encoding": {"name": "default", "separator": "."}}),
        "sharded": (matrix, {"chunks": (8, 8), "shards": (32, 16)}),
        "vector": (matrix[:, 0].copy(), {"chunks": (13,)}),
        "empty": (matrix, {"chunks": (16, 16), "fill_value": 0.30000000000000004}),
    }
    for name in ["int8", "int16", "int32", "int64"]:
        table[name] = (numbers.astype(name), {"chunks": (16, 16)})
    for name in ["uint8", "uint16", "uint32", "uint64"]:
        table[name] = (abs(numbers).astype(name), {"chunks": (16, 16)})
    table["bool"] = (numbers > 0, {"chunks": (16, 16)})
    for name, (entries, options) in table.items():
        path = os.path.join(folder, name)
        made = zarr.create_array(path + ".zarr", shape=entries.shape, dtype=entries.dtype, **options)
        if name == "empty":
            # Chunks that nobody writes are the fill value.
            made[16:32, :] = entries[16:32, :]
            entries = made[:]
        else:
            made[:] = entries
        numpy.save(path + ".npy", entries.astype("float64"))
    for name in ["wide", "narrow"]:
        fill = {"wide": float("nan"), "narrow": float("inf")}[name]
        path = os.path.join(folder, name + ".zarr")
        zarr.create_array(path, shape=(20, 10), chunks=(10, 10), dtype="float64", fill_value=fill)[:10] = 1.5
    zarr.create_array(os.path.join(folder, "complex.zarr"), shape=(9, 9), dtype="complex128")
    zarr.create_array(os.path.join(folder, "cube.zarr"), shape=(3, 3, 3), dtype="float64")
    zarr.create_array(os.path.join(folder, "second.zarr"), shape=(9, 9), dtype="float64", zarr_format=2)


if __name__ == "__main__":
    {"read": read, "write": write, "foreign": foreign}[sys.argv[1]](*sys.argv[2:])
