"""Inner products of embeddings, pair by pair, which a network learns slowly by itself."""

import numpy as np
import tensorflow as tf


def products_within(vectors: tf.Tensor) -> tf.Tensor:
    """Returns `<v_i, v_j>` of all i < j, in the order of rows of the upper triangle.

    Reference: Rendle, "Factorization Machines", ICDM 2010; as a layer's input Naumov et al., DLRM, 2019.

    Input: `v (batch, n, dim)`. Output: `(batch, n (n - 1) / 2)`.

    >>> products_within(tf.constant([[[1.0, 2.0], [3.0, 4.0], [0.0, 1.0]]])).numpy().tolist()
    [[11.0, 2.0, 4.0]]
    """
    n = vectors.shape[1]
    rows, columns = np.triu_indices(n, k=1)
    products = tf.reshape(tf.matmul(vectors, vectors, transpose_b=True), [-1, n * n])
    return tf.gather(products, rows * n + columns, axis=1)


def products_between(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Returns `<l_i, r_j>` of all i and j, i by i.

    Input: `l (batch, n, dim)` and `r (batch, m, dim)`; either batch may be 1. Output: `(batch, n m)`.

    >>> l, r = tf.constant([[[1.0, 2.0]]]), tf.constant([[[3.0, 4.0], [0.0, 1.0]]])
    >>> products_between(l, r).numpy().tolist()
    [[11.0, 2.0]]
    """
    return tf.reshape(tf.matmul(left, right, transpose_b=True), [-1, left.shape[1] * right.shape[1]])
