import tensorflow as tf

from models.training.progress import Progress, ProgressStore, fingerprint


def add(progress: Progress, loss: float) -> None:
    progress.add({"epoch": progress.done + 1}, loss)


def test_training_is_over_after_more_than_patience_epochs_without_a_lower_loss():
    progress = Progress()
    over = []
    for loss in (3.0, 2.0, 2.5, 2.0, 1.0):
        over.append(progress.is_over(epochs=10, patience=1))
        add(progress, loss)
    assert over == [False, False, False, False, True]
    assert (progress.best_epoch, progress.best_loss) == (5, 1.0)
    assert Progress(epochs=[{}] * 10, best_epoch=10).is_over(epochs=10, patience=3)


def test_the_latest_and_the_best_weights_come_back(tmp_path):
    weight = tf.Variable(0.0)
    store = ProgressStore(str(tmp_path / "state"), tf.train.Checkpoint(weight=weight))
    progress = store.load()
    for value, loss in ((1.0, 2.0), (2.0, 1.0), (3.0, 5.0), (4.0, 6.0)):
        weight.assign(value)
        add(progress, loss)
        store.save(progress)
    restored = tf.Variable(0.0)
    again = ProgressStore(str(tmp_path / "state"), tf.train.Checkpoint(weight=restored))
    loaded = again.load()
    assert loaded == progress
    assert float(restored) == 4.0
    again.restore_best(loaded)
    assert float(restored) == 2.0
    stems = {path.name.partition(".")[0] for path in (tmp_path / "state").iterdir()}
    assert stems == {"epoch-2", "epoch-4", "progress"}
    again.clear()
    assert not (tmp_path / "state").exists()


def test_a_checkpoint_whose_state_was_never_written_is_as_if_it_had_not_been(tmp_path):
    weight = tf.Variable(1.0)
    store = ProgressStore(str(tmp_path), tf.train.Checkpoint(weight=weight))
    progress = Progress()
    add(progress, 1.0)
    store.save(progress)
    weight.assign(9.0)
    store.checkpoint.write(f"{tmp_path}/epoch-2")
    assert store.load().done == 1
    assert float(weight) == 1.0


def test_a_fingerprint_changes_with_every_part():
    names = {fingerprint("spec", ["a", "b"]), fingerprint("spec", ["a"]), fingerprint("other", ["a", "b"])}
    assert len(names) == 3
    assert fingerprint("spec", ["a", "b"]) in names
