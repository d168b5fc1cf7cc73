"""Holds peerwren's Zarr arrays against zarr-python, the reference implementation.

    zarr_python.py read ARRAY NPY    ARRAY, written by peerwren, has the entries of NPY
    zarr_python.py write NPY ARRAY ROWS COLS
                                     writes NPY as ARRAY in chunks of ROWS x COLS with peerwren's codecs
"""

import sys

import numpy
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec, TransposeCodec


def read(array, npy):
    ours, expected = zarr.open_array(array, mode="r"), numpy.load(npy)
    assert ours.shape == expected.shape, (ours.shape, expected.shape)
    assert ours.dtype == numpy.float64, ours.dtype
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


if __name__ == "__main__":
    {"read": read, "write": write}[sys.argv[1]](*sys.argv[2:])
