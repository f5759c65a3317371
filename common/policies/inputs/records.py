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


def pack(fields: Mapping[str, tf.Tensor], dtype: RecordType) -> tf.Tensor:
    """Join tensors to the rows of bytes that `to_bytes(record_of(dtype, fields))` returns, in TensorFlow.

    Args:
        fields: {field: [N, *shape of the field]}, cast to the fields' dtypes; no field is itself a record.
        dtype: of the records.

    Returns:
        [N, n] uint8.
    """
    parts = []
    for name in dtype.names or ():
        base, size = dtype[name].base, dtype[name].itemsize
        entries = tf.cast(tf.reshape(fields[name], [-1, size // base.itemsize]), base)
        if base != np.uint8:
            entries = tf.reshape(tf.bitcast(entries, tf.uint8), [-1, size])
        parts.append(entries)
    return tf.concat(parts, axis=1)
