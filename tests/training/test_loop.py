import pytest
import torch

from attrcls.engine import start_engine
from attrcls.errors import AttrclsError, UserError
from attrcls.model.network import add_rare_samples, build_network
from attrcls.task import Plan, load_plan
from attrcls.training.balancing import build_balancer
from attrcls.training.checkpoint import load_checkpoint, save_checkpoint
from attrcls.training.loop import TrainState, check_loss, fit
from attrcls.training.optim import build_ema, build_optimiser
from attrcls.types import WHOLE, Batch, Share


class FixedBatches:
    """The same few random pictures each epoch."""

    def __init__(self, *, steps: int = 3, size: int = 4, px: int = 32) -> None:
        self.steps_per_epoch = steps
        self.size, self.px = size, px

    def epoch(self, epoch: int, share: Share = WHOLE):
        generator = torch.Generator().manual_seed(epoch)
        for index in range(self.steps_per_epoch):
            targets = {
                "colour": torch.randint(0, 3, (self.size,), generator=generator),
                "size": torch.randint(0, 2, (self.size,), generator=generator),
            }
            images = torch.randint(0, 256, (self.size, 3, self.px, self.px), dtype=torch.uint8, generator=generator)
            rows = torch.arange(index * self.size, (index + 1) * self.size)
            yield Batch(rows, images, targets, {head: torch.ones(self.size, dtype=torch.bool) for head in targets})


def make_state(shared_squares, *overrides: str) -> tuple[Plan, TrainState]:
    plan = load_plan(str(shared_squares / "squares.task.yaml"), overrides=overrides)
    torch.manual_seed(0)
    network, _ = build_network(plan.task, {"colour": [9, 3, 1], "size": [1, 1]}, weights="none")
    network.to(memory_format=torch.channels_last)
    add_rare_samples(network, plan.task, {"colour": [9, 3, 1], "size": [1, 1]})
    ema = build_ema(network, plan.task.ema) if plan.task.ema else None
    balancer = build_balancer(plan.task.loss_balance, list(plan.task.heads), torch.device("cpu"))
    optimiser = build_optimiser(network, plan.task.optimiser, beside=balancer.parameters if balancer else ())
    return plan, TrainState(network, optimiser, ema, balancer)


def run(shared_squares, *overrides: str, batches: FixedBatches | None = None) -> tuple[TrainState, list]:
    plan, state = make_state(shared_squares, *overrides)
    steps = list(fit(state, batches or FixedBatches(), task=plan.task, fabric=start_engine(device="cpu", precision="32")))
    return state, steps


def test_a_step_tells_its_place_its_rows_and_logits_from_before_the_update(shared_squares):
    plan, state = make_state(shared_squares, "epochs=1")
    state.network.eval()
    before = {key: value.clone() for key, value in state.network.state_dict().items()}
    step = next(fit(state, FixedBatches(), task=plan.task, fabric=start_engine(device="cpu", precision="32")))
    assert (step.epoch, step.index, step.steps_in_epoch, step.ends_epoch) == (0, 0, 3, False)
    assert step.rows.tolist() == [0, 1, 2, 3]
    assert step.logits["colour"].dtype == torch.float32
    assert not step.logits["colour"].requires_grad
    assert not torch.equal(state.network.state_dict()["head_modules.head_colour.layers.0.weight"], before["head_modules.head_colour.layers.0.weight"])
    first = next(iter(FixedBatches().epoch(0)))
    state.network.load_state_dict(before)
    assert torch.allclose(state.network.train()(first.images)["colour"], step.logits["colour"], atol=1e-5)


def test_every_epoch_has_its_steps_and_the_state_counts_them(shared_squares):
    state, steps = run(shared_squares, "epochs=2")
    assert [(step.epoch, step.index) for step in steps] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert state.epoch == 2


def test_two_accumulated_halves_move_the_weights_like_one_whole_batch(shared_squares):
    class Halves(FixedBatches):
        def __init__(self) -> None:
            super().__init__(steps=2)

        def epoch(self, epoch, share=WHOLE):
            whole = next(FixedBatches(steps=1, size=8).epoch(epoch))
            for part in (slice(0, 4), slice(4, 8)):
                pick = lambda values, part=part: {head: value[part] for head, value in values.items()}  # noqa: E731
                yield Batch(whole.rows[part], whole.images[part], pick(whole.targets), pick(whole.present))

    options = ["epochs=1", "optimiser.name=sgd", "trunk.freeze=true"]
    whole, _ = run(shared_squares, *options, batches=FixedBatches(steps=1, size=8))
    halves, _ = run(shared_squares, *options, "optimiser.accumulate=2", batches=Halves())
    for key, value in whole.network.state_dict().items():
        assert torch.allclose(value, halves.network.state_dict()[key], atol=1e-6), key


def test_a_frozen_trunk_does_not_move_and_thaws_after_its_epochs(shared_squares):
    plan, state = make_state(shared_squares, "epochs=2", "trunk.freeze_epochs=1")
    first = {key: value.clone() for key, value in state.network.trunk.state_dict().items()}
    for step in fit(state, FixedBatches(), task=plan.task, fabric=start_engine(device="cpu", precision="32")):
        moved = any(not torch.equal(value, first[key]) for key, value in state.network.trunk.state_dict().items())
        assert moved == (step.epoch == 1)


def test_the_same_seed_gives_the_same_weights_also_with_dropout(shared_squares):
    one, two = (run(shared_squares, "epochs=1", "heads.colour.dropout=0.5")[0] for _ in range(2))
    assert all(torch.equal(value, two.network.state_dict()[key]) for key, value in one.network.state_dict().items())


@pytest.mark.parametrize(
    "options",
    [
        ["optimiser.name=sgd"],
        ["ema=0.9", "heads.colour.dropout=0.3"],
        ["schedule.name=cosine", "optimiser.clip_norm=1.0"],
        ["heads.colour.loss=ldam", "heads.colour.loss_options.deferred=0.5", "loss_balance=uncertainty"],
        ["rsg.head=colour", "rsg.deferred=0.5"],
        ["loss_balance=famo", "heads.colour.dropout=0.3"],
    ],
)
def test_a_run_resumed_from_its_checkpoint_ends_with_the_same_weights(shared_squares, tmp_path, options):
    fabric = start_engine(device="cpu", precision="32")
    whole, _ = run(shared_squares, "epochs=2", *options)
    plan, state = make_state(shared_squares, "epochs=2", *options)
    for step in fit(state, FixedBatches(), task=plan.task, fabric=fabric):
        if step.ends_epoch:
            save_checkpoint(state, tmp_path / "last.safetensors")
            break
    _, resumed = make_state(shared_squares, "epochs=2", "seed=9", *options)
    load_checkpoint(resumed, tmp_path / "last.safetensors")
    assert resumed.epoch == 1
    list(fit(resumed, FixedBatches(), task=plan.task, fabric=fabric))
    for key, value in whole.scored_network.state_dict().items():
        assert torch.equal(value, resumed.scored_network.state_dict()[key]), key
    if whole.balancer:
        assert all(torch.equal(value, resumed.balancer.state()[key]) for key, value in whole.balancer.state().items())


def test_a_damaged_or_foreign_checkpoint_is_refused(shared_squares, tmp_path):
    _, state = make_state(shared_squares)
    path = tmp_path / "last.safetensors"
    save_checkpoint(state, path)
    _, other = make_state(shared_squares, "heads.colour.hidden=8")
    with pytest.raises(UserError, match="belongs to another task or trunk"):
        load_checkpoint(other, path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="damaged"):
        load_checkpoint(state, path)
    with pytest.raises(UserError, match="no such file"):
        load_checkpoint(state, tmp_path / "gone.safetensors")


def test_a_batch_of_one_trains_where_the_trunk_has_room_and_says_so_where_not(shared_squares):
    run(shared_squares, "epochs=1", batches=FixedBatches(size=1, px=64))
    with pytest.raises(UserError, match="--batch-size 2"):
        run(shared_squares, "epochs=1", batches=FixedBatches(size=1, px=32))


def test_a_deferred_loss_learns_as_a_plain_one_until_its_epoch_and_otherwise_after_it(shared_squares):
    later, never = (run(shared_squares, "epochs=2", "heads.colour.loss=ldam", f"heads.colour.loss_options.deferred={part}")[1] for part in (0.5, 1))
    same = [torch.equal(one.losses["colour"], other.losses["colour"]) for one, other in zip(later, never, strict=True)]
    assert same == [True, True, True, False, False, False]


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_with_advice(loss):
    with pytest.raises(AttrclsError, match="try a lower --lr"):
        check_loss(loss, epoch=0)


class TwoViews:
    """Random pictures twice, of which no head has a label."""

    def epoch(self, epoch: int, share: Share = WHOLE, *, steps: int):
        generator = torch.Generator().manual_seed(100 + epoch)
        for _ in range(steps):
            weak, strong = (torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8, generator=generator) for _ in range(2))
            yield Batch(torch.arange(6), weak, {}, {head: torch.zeros(6, dtype=torch.bool) for head in ("colour", "size")}, strong=strong)


def test_famo_learns_nothing_of_an_update_that_moved_nothing_though_unlabelled_pictures_were_in_the_batch(shared_squares):
    still = ("epochs=1", "loss_balance=famo", "unlabelled=uda", "optimiser.lr=1e-12", "optimiser.weight_decay=0", "ema=null")
    plan, state = make_state(shared_squares, *still)
    list(fit(state, FixedBatches(), TwoViews(), task=plan.task, fabric=start_engine(device="cpu", precision="32")))
    assert state.balancer is not None
    # Adam's first steps are of the size of its rate, 0.025, whatever the gradient's size, unless that is nothing.
    assert state.balancer.state()["exp_avg"].abs().max() < 1e-5
