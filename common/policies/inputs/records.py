"""Records: several arrays of one step in one row of bytes.

NumPy holds the steps of a policy with several inputs in one array of a structured dtype, so that segments, minibatches
and messages between ranks handle them as they handle a plain observation. A graph takes the rows as bytes, which
`unpack` divides into tensors again, without a change of one bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

RecordType = np.dtype[Any]


def record_of(dtype: RecordType, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Join arrays to records.

    Args:
        dtype: a structured dtype.
        arrays: {field: [..., *shape of the field]}, one for each field.

    Returns:
        [...] of `dtype`.
    """
    names = dtype.names or ()
    first = arrays[names[0]]
    batch_shape = np.shape(first)[: np.ndim(first) - len(dtype[names[0]].shape)]
    records: np.ndarray = np.empty(batch_shape, dtype)
    for name in names:
        records[name] = arrays[name]
    return records


def to_bytes(records: np.ndarray) -> np.ndarray:
    """Return records [...] as rows of bytes, [..., n] uint8, where n is the size of a record."""
    rows: np.ndarray = np.ascontiguousarray(records).reshape(*np.shape(records), 1).view(np.uint8)
    return rows


def unpack(rows: tf.Tensor, dtype: RecordType) -> dict[str, tf.Tensor]:
    """Divide rows of bytes into the fields of their records.

    Args:
        rows: [..., n] uint8, as `to_bytes` returns them.
        dtype: of the records. A field that is itself a record is returned as rows of bytes.

    Returns:
        {field: [..., *shape of the field]} in the fields' dtypes.
    """
    batch_shape = tf.shape(rows)[:-1]
    fields: dict[str, tf.Tensor] = {}
    for name, (field_dtype, offset, *_) in (dtype.fields or {}).items():
        base, shape = field_dtype.subdtype or (field_dtype, ())
        part = rows[..., offset : offset + field_dtype.itemsize]
        if base.names is not None:  # a record in a record
            fields[name] = tf.reshape(part, tf.concat([batch_shape, [*shape, base.itemsize]], axis=0))
            continue
        if base.itemsize > 1:
            entries = field_dtype.itemsize // base.itemsize
            part = tf.bitcast(tf.reshape(part, tf.concat([batch_shape, [entries, base.itemsize]], axis=0)), base)
        fields[name] = tf.reshape(part, tf.concat([batch_shape, shape], axis=0))
    return fields


def join_entries(fields: Mapping[str, tf.Tensor], dtype: RecordType) -> tf.Tensor:
    """Join tensors to rows of numbers, for graphs that are exported: other formats than TensorFlow's have no bytes.

    Args:
        fields: {field: [N, *shape of the field]}, of values that float32 represents exactly.
        dtype: of the records.

    Returns:
        [N, entries of a record] float32.
    """
    sizes = {name: dtype[name].itemsize // dtype[name].base.itemsize for name in dtype.names or ()}
    return tf.concat([tf.cast(tf.reshape(fields[name], [-1, n]), tf.float32) for name, n in sizes.items()], axis=1)


def split_entries(rows: tf.Tensor, dtype: RecordType) -> dict[str, tf.Tensor]:
    """Divide the rows [N, n] that `join_entries` returns into {field: [N, *shape of the field]}, float32."""
    fields: dict[str, tf.Tensor] = {}
    start = 0
    for name in dtype.names or ():
        end = start + dtype[name].itemsize // dtype[name].base.itemsize
        fields[name] = tf.reshape(rows[:, start:end], [-1, *dtype[name].shape])
        start = end
    return fields
