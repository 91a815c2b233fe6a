import numpy as np
import torch

from attrcls.cleaning.observe import FAST_EPOCHS, FAST_GROUP_EPOCHS, cleaning_task, linear_network, observe
from attrcls.engine import seed_everything, start_engine
from attrcls.features.batches import FeatureBatches
from attrcls.task import load_plan


def watched(grouped=(), rows=12, uncounted_epochs=0):
    plan = load_plan("sample_faces", heads=["mask", "gender"])
    task = cleaning_task(plan.task, full=False, heads=plan.task.heads)
    generator = np.random.default_rng(0)
    targets = {"mask": generator.integers(0, 3, rows), "gender": generator.integers(0, 2, rows)}
    targets["gender"][0] = -1
    seed_everything(0)
    network = linear_network(task, targets, {"mask": 4, "gender": 3}, width=8)
    features = torch.from_numpy(generator.normal(size=(2, rows, 8)).astype(np.float32))
    batches = FeatureBatches(features, targets, batch_size=5, seed=0)
    return observe(
        network, batches, task, targets, fabric=start_engine(device="cpu", precision="32"), grouped=grouped, uncounted_epochs=uncounted_epochs
    )


def test_every_labelled_row_is_seen_once_an_epoch():
    sums = watched()
    assert set(sums["mask"].counts.tolist()) == {FAST_EPOCHS}
    assert sums["gender"].counts.tolist() == [0] + [FAST_EPOCHS] * 11


def test_of_an_attribute_constant_in_a_group_only_the_first_epochs_count():
    sums, all_epochs = watched(grouped={"gender"}), watched()
    assert sums["gender"].counts.tolist() == [0] + [FAST_GROUP_EPOCHS] * 11
    # The other heads, and what is learned, stay as they are.
    assert torch.equal(sums["mask"].aum(), all_epochs["mask"].aum())
    assert not torch.allclose(sums["gender"].aum()[1:], all_epochs["gender"].aum()[1:])


def test_the_uncounted_first_epochs_are_trained_on_and_leave_no_margin():
    late, all_epochs = watched(uncounted_epochs=FAST_EPOCHS - 1), watched()
    assert set(late["mask"].counts.tolist()) == {1}
    # The last epoch's logits, after all of the training: further apart than they are in the mean over all epochs.
    assert late["mask"].mean_logits().std() > all_epochs["mask"].mean_logits().std()
