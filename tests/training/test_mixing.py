"""Mixup and CutMix: what pictures become, and that a label that is missing gives no loss for its share."""

import pytest
import torch
from training.test_loop import FixedBatches, make_state

from attrcls.engine import start_engine
from attrcls.model.heads import build_head
from attrcls.model.losses import LossContext
from attrcls.model.network import count_labelled, masked_losses
from attrcls.sections import HeadSpec, MixSpec
from attrcls.training.loop import fit
from attrcls.training.mixing import mix, mixed_batches
from attrcls.types import Batch, Mixed

KEY = (0, 5, 0, 0, 0)


def plain_batch(*, size: int = 6, px: int = 8) -> Batch:
    """Picture i is all of grey 10 i, and its class is i modulo 3."""
    images = (torch.arange(size, dtype=torch.uint8) * 10).view(-1, 1, 1, 1).expand(size, 3, px, px).clone()
    labels = {"colour": torch.arange(size) % 3}
    return Batch(torch.arange(size), images, labels, {"colour": torch.ones(size, dtype=torch.bool)})


def test_mixup_adds_two_pictures_by_the_share_and_keeps_both_labels():
    batch = plain_batch()
    mixed = mix(batch, MixSpec(mixup=1.0), key=KEY)
    own = mixed.mixed.own_share
    assert 0 < own < 1
    assert sorted(mixed.mixed.targets["colour"].tolist()) == sorted(batch.targets["colour"].tolist())
    assert mixed.images.dtype == torch.uint8
    for index, grey in enumerate(mixed.images[:, 0, 0, 0].tolist()):
        fitting = [round(own * 10 * index + (1 - own) * 10 * other) for other in range(6) if other % 3 == int(mixed.mixed.targets["colour"][index])]
        assert grey in fitting
    assert torch.equal(mixed.targets["colour"], batch.targets["colour"])


def test_cutmix_pastes_a_rectangle_whose_area_is_the_partners_share():
    for step in range(20):
        batch = plain_batch(px=16)
        mixed = mix(batch, MixSpec(cutmix=1.0), key=(0, 5, 0, step, 0))
        for before, after in zip(batch.images, mixed.images, strict=True):
            pasted = (before != after)[0]
            if not pasted.any():  # its own partner
                continue
            assert pasted.float().mean().item() == pytest.approx(1 - mixed.mixed.own_share)
            rows, columns = pasted.any(dim=1).sum(), pasted.any(dim=0).sum()
            assert pasted.sum() == rows * columns


def test_features_are_mixed_too_and_channels_stay_last():
    features = Batch(torch.arange(4), torch.randn(4, 5), {"a": torch.zeros(4, dtype=torch.int64)}, {"a": torch.ones(4, dtype=torch.bool)})
    assert mix(features, MixSpec(mixup=1.0), key=KEY).images.dtype == torch.float32
    last = plain_batch()
    last = Batch(last.rows, last.images.contiguous(memory_format=torch.channels_last), last.targets, last.present)
    for spec in (MixSpec(mixup=1.0), MixSpec(cutmix=1.0)):
        assert mix(last, spec, key=KEY).images.is_contiguous(memory_format=torch.channels_last)


def test_the_same_key_mixes_alike_and_another_epoch_batch_or_process_otherwise():
    def shares(*, seed: int = 0, epoch: int = 0, process: int = 0) -> list[float]:
        batches = mixed_batches([plain_batch(), plain_batch()], MixSpec(mixup=1.0), seed=seed, epoch=epoch, process=process)
        return [batch.mixed.own_share for batch in batches]

    assert shares() == shares()
    drawn = [*shares(), *shares(epoch=1), *shares(process=1), *shares(seed=1)]
    assert len(set(drawn)) == len(drawn)


def test_about_as_many_batches_are_mixed_as_the_task_says_and_the_rest_counts_as_whole():
    batches = mixed_batches([plain_batch()] * 200, MixSpec(mixup=1.0, cutmix=1.0, prob=0.3), seed=0, epoch=0, process=0)
    mixed = [batch for batch in batches if batch.mixed.own_share < 1]
    assert 40 <= len(mixed) <= 80
    whole = next(mixed_batches([plain_batch()], MixSpec(mixup=1.0, prob=1e-9), seed=0, epoch=0, process=0))
    assert torch.equal(whole.images, plain_batch().images)
    assert count_labelled(whole)["colour"].item() == 6
    assert next(mixed_batches([plain_batch()], None, seed=0, epoch=0, process=0)).mixed is None


def test_a_missing_label_gives_no_loss_for_its_share_and_the_mean_is_over_the_shares_that_have_one():
    head = build_head(HeadSpec(label_smoothing=0), features=4, context=LossContext(torch.ones(2)))
    logits = torch.tensor([[2.0, 0.0], [float("inf"), 0.0], [0.0, 1.0]], requires_grad=True)
    present, partners_present = torch.tensor([True, False, True]), torch.tensor([True, False, False])
    batch = Batch(
        torch.arange(3), torch.zeros(3, 4), {"a": torch.tensor([0, 0, 1])}, {"a": present},
        Mixed(0.75, {"a": torch.tensor([1, 0, 0])}, {"a": partners_present}),
    )  # fmt: skip
    assert count_labelled(batch)["a"].item() == pytest.approx(0.75 + 0.25 + 0.75)
    losses = masked_losses({"a": head}, {"a": logits}, batch, weights={"a": 1.0})
    each = torch.nn.functional.cross_entropy
    by_hand = (
        0.75 * each(logits[:1], torch.tensor([0])) + 0.25 * each(logits[:1], torch.tensor([1])) + 0.75 * each(logits[2:], torch.tensor([1]))
    ) / 1.75
    assert losses.total.item() == pytest.approx(by_hand.item())


def test_a_mixed_picture_learns_from_both_its_numbers():
    context = LossContext(torch.ones(2), cuts=(10.0,))
    head = build_head(HeadSpec(kind="ordinal", ordinal="soft", loss_options={"sigma": 1.0}), features=4, context=context)
    present, targets = {"a": torch.tensor([True, True])}, {"a": torch.tensor([0, 1])}
    batch = Batch(torch.arange(2), torch.zeros(2, 4), targets, present, numbers={"a": torch.tensor([1.0, 10.0])})
    mixed = next(mixed_batches([batch] * 9, MixSpec(mixup=1.0), seed=1, epoch=0, process=0))
    partners = (mixed.mixed.targets["a"] != targets["a"]).any()
    expected = [10.0, 1.0] if partners else [1.0, 10.0]
    assert mixed.mixed.numbers["a"].tolist() == expected
    logits = torch.tensor([[0.0, 2.0], [0.0, 2.0]])
    own, other = (head.loss(logits, each.targets["a"], each.numbers["a"]).sum() for each in (mixed, mixed.mixed))
    by_hand = (mixed.mixed.own_share * own + (1 - mixed.mixed.own_share) * other) / 2
    assert masked_losses({"a": head}, {"a": logits}, mixed, weights={"a": 1.0}).total.item() == pytest.approx(by_hand.item())


def test_training_mixes_where_the_task_says_so_and_not_otherwise(shared_squares):
    losses = []
    for options in ((), ("mix={mixup: 1.0, cutmix: 1.0}",), ("mix={mixup: 1.0, cutmix: 1.0}",)):
        plan, state = make_state(shared_squares, "epochs=1", *options)
        steps = fit(state, FixedBatches(steps=2), task=plan.task, fabric=start_engine(device="cpu", precision="32"))
        losses.append([step.loss.item() for step in steps])
    assert losses[0] != losses[1]
    assert losses[1] == losses[2]
