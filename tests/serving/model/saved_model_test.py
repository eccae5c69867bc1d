import tensorflow as tf

from serving.model.saved_model import SavedModel, Signature, TensorSpec, broken_promises


def signature(defaults: tuple[str, ...] = (), outputs: tuple[str, ...] = ("y",), **inputs: TensorSpec) -> Signature:
    output_specs = {name: TensorSpec(name, tf.float32, (None,)) for name in outputs}
    return Signature("rank", inputs, output_specs, dict.fromkeys(defaults))


X = TensorSpec("x", tf.float32, (None,))
Z = TensorSpec("z", tf.float32, (None,))
OLD = {"rank": signature(x=X)}


def test_what_is_only_added_breaks_no_promise():
    assert broken_promises(OLD, {"rank": signature(x=X), "other": signature(z=Z)}) == []
    assert broken_promises(OLD, {"rank": signature(x=X, outputs=("y", "score"))}) == []
    assert broken_promises(OLD, {"rank": signature(x=X, z=Z, defaults=("z",))}) == []


def test_what_goes_or_changes_or_becomes_required_breaks_one():
    assert broken_promises(OLD, {}) == ["signature 'rank' is gone"]
    assert broken_promises(OLD, {"rank": signature(outputs=("score",), x=X)}) == [
        "signature 'rank': output 'y' is gone"
    ]
    assert broken_promises(OLD, {"rank": signature()}) == ["signature 'rank': input 'x' is gone"]
    assert broken_promises(OLD, {"rank": signature(x=X, z=Z)}) == ["signature 'rank': input 'z' is required now"]
    wider = TensorSpec("x", tf.float32, (None, 2))
    assert broken_promises(OLD, {"rank": signature(x=wider)}) == [
        "signature 'rank': input 'x' was float32[?], is float32[?,2]"
    ]
    optional = {"rank": signature(x=X, defaults=("x",))}
    assert broken_promises(optional, OLD) == ["signature 'rank': input 'x' is required now"]


def test_a_shape_fits_where_the_known_sizes_agree():
    spec = TensorSpec("x", tf.float32, (None, 2))
    assert spec.fits((0, 2))
    assert not spec.fits((2, 3))
    assert not spec.fits((2,))
    assert TensorSpec("x", tf.float32, None).fits((1, 2, 3))


def test_the_signatures_of_a_model_are_read_with_their_defaults(toys):
    model = SavedModel(toys(1))
    assert model.signatures.keys() == {"serving_default", "rank", "texts", "typed", "weighted"}
    assert model.signatures["rank"].inputs["user"] == TensorSpec("user", tf.string, (1,))
    assert model.signatures["typed"].outputs["total"].dtype == tf.int64
    assert model.signatures["weighted"].defaults.keys() == {"weights"}
    model.close()
