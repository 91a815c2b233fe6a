import pytest

from attrcls.combine import combiner_for
from attrcls.errors import ProblemsError, UserError
from attrcls.runs.pretrain import pretext_plan
from attrcls.spec import bundled_specs
from attrcls.task import Task, load_plan


@pytest.mark.parametrize("name", sorted(bundled_specs("tasks")))
def test_every_bundled_task_is_valid_with_its_cards(name):
    plan = load_plan(name)
    assert plan.heads
    assert plan.task.name == name


@pytest.mark.parametrize("name", ["mask18", "clothing", "age5"])
def test_the_measured_tasks_default_to_resnet18_128_px_and_8_epochs(name):
    task = load_plan(name).task
    assert (task.trunk.name, task.image.px, task.epochs) == ("resnet18", 128, 8)


@pytest.mark.parametrize("name", ["mask18", "sample_faces"])
def test_the_face_tasks_combine_to_eighteen_codes(name):
    combiner = combiner_for(load_plan(name))
    assert combiner is not None
    assert (combiner.order, combiner.radices, combiner.size) == (("mask", "gender", "age"), (3, 2, 3), 18)


def test_overrides_and_changes_apply_in_order():
    task = load_plan("mask18", overrides=["heads.age.weight=2", "epochs=3"], changes={"epochs": 5, "trunk.weights": "none"}).task
    assert (task.heads["age"].weight, task.epochs, task.trunk.weights) == (2.0, 5, "none")


def test_a_misspelt_override_names_the_nearest_key():
    with pytest.raises(ProblemsError, match=r"optimiser\.lrr: unknown key; did you mean 'lr'"):
        load_plan("mask18", overrides=["optimiser.lrr=1"])


def test_an_unknown_head_names_the_nearest_attribute():
    with pytest.raises(UserError, match="no card has an attribute 'agee'; did you mean 'age'"):
        load_plan("mask18", overrides=["heads.agee.weight=1"])


def test_some_heads_can_be_picked_and_the_code_keeps_all_radices():
    plan = load_plan("mask18", heads=["mask"])
    combiner = combiner_for(plan)
    assert list(plan.heads) == ["mask"]
    assert combiner is not None
    assert combiner.radices == (3, 2, 3)
    with pytest.raises(UserError, match="no head 'masc'; did you mean 'mask'"):
        load_plan("mask18", heads=["masc"])


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("epochs=0", "epochs: expected greater than or equal to 1"),
        ("batch_size=0", "batch_size"),
        ("heads.age.hidden=100000000", "heads.age.hidden: expected less than or equal to 65536"),
        ("cards=[{card: mask18, ratio: 1e30}]", "cards.0.ratio: expected less than or equal to 1000"),
        ("hold_back.share=1", "hold_back.share"),
        ("image.fit=squash", "image.fit: expected 'stretch', 'crop' or 'pad'"),
        ("heads=[]", "heads"),
        ("combine.order=[mask, mask, age]", "each attribute once"),
        ('combine.name=" "', "combine.name: ' ' is blank, a head's name or reserved"),
        ("combine.name=age_confidence", "age_confidence would be a column of predictions twice"),
        ("combine.name=mask_p_wear", "mask_p_wear would be a column of predictions twice"),
        ("image.crop_boxes=true", "no card of the task has a box"),
        ("submission.x=nothere.id", "no attribute 'nothere'"),
        ("balance=[gendr]", "no head 'gendr'; did you mean 'gender'?"),
        ("balance=[age, age]", "each head once"),
        ("balance=[]", "balance"),
        ("balance={heads: [age], cap: 0.5}", "balance.cap: expected greater than or equal to 1"),
        ("balance={heads: [age], strength: 2}", "balance.strength: expected less than or equal to 1"),
        ("balance={heads: [age], strenght: 1}", "did you mean 'strength'"),
    ],
)
def test_a_task_that_cannot_be_meant_is_refused(override, expected):
    with pytest.raises(UserError) as caught:
        load_plan("mask18", overrides=[override])
    assert expected in str(caught.value)


def test_a_card_is_found_relative_to_the_tasks_file(shared_squares):
    plan = load_plan(str(shared_squares / "squares.task.yaml"))
    assert list(plan.heads) == ["colour", "size"]
    assert not plan.found.bundled


def test_cards_that_disagree_about_classes_are_refused(tmp_path):
    for name, classes in (("a", "[x, y]"), ("b", "[y, x]")):
        (tmp_path / f"{name}.yaml").write_text(f"tables: [t.csv]\nattributes: {{kind: {{classes: {classes}}}}}\n")
    (tmp_path / "t.yaml").write_text("cards: [a.yaml, b.yaml]\nheads: [kind]\n")
    with pytest.raises(UserError, match="cards a and b disagree about the classes of kind"):
        load_plan(str(tmp_path / "t.yaml"))


def test_balance_may_be_a_list_of_heads_and_a_change_of_the_heads_keeps_the_rest():
    assert load_plan("mask18").task.balance is None
    listed = load_plan("mask18", overrides=["balance=[mask, age]"], changes={"balance.heads": ["gender"]}).task.balance
    assert listed is not None and (listed.heads, listed.strength, listed.cap) == (["gender"], 1.0, 10.0)
    mapped = load_plan("mask18", overrides=["balance={heads: [age], cap: 4}"], changes={"balance.heads": ["mask"]}).task.balance
    assert mapped is not None and (mapped.heads, mapped.cap) == (["mask"], 4.0)


def test_an_override_finds_the_keys_below_a_short_form_that_one_before_it_gave():
    task = load_plan("mask18", overrides=["unlabelled=fixmatch", "unlabelled.ratio=3", "heads=[mask, age]", "heads.age.weight=2"]).task
    assert task.unlabelled is not None and (task.unlabelled.method, task.unlabelled.ratio) == ("fixmatch", 3)
    assert {head: spec.weight for head, spec in task.heads.items()} == {"mask": 1, "age": 2}
    with pytest.raises(UserError, match=r"trunk\.name: expected trunk to hold keys, found 'resnet18'"):
        load_plan("mask18", overrides=["trunk=resnet18", "trunk.name=resnet50"])


ALL_HEADS = """
cards: [mask18]
heads: [mask, gender, age]
trunk: {name: resnet18}
balance: {heads: [gender, age], cap: 4}
unlabelled: {method: uda, heads: [age]}
"""


def test_picking_heads_leaves_out_what_the_file_does_for_the_others_and_the_rest_is_a_valid_task(tmp_path):
    file = tmp_path / "t.yaml"
    file.write_text(ALL_HEADS)
    mask = load_plan(str(file), heads=["mask"]).task
    assert (mask.balance, mask.unlabelled) == (None, None)
    gender = load_plan(str(file), heads=["gender"]).task
    assert gender.balance is not None and (gender.balance.heads, gender.balance.cap) == (["gender"], 4.0)
    for task in (mask, gender):
        assert Task.model_validate(task.model_dump(mode="json")) == task
    kept = load_plan(str(file), heads=["mask"], changes={"balance.heads": ["mask"]}).task.balance
    assert kept is not None and (kept.heads, kept.cap) == (["mask"], 4.0)
    with pytest.raises(ProblemsError, match=r"--balance: no head 'age' \(heads: mask\)"):
        load_plan(str(file), heads=["mask"], changes={"balance.heads": ["age"]})
    listed = load_plan(str(file), heads=["age"], overrides=["heads=[mask, age]", "balance=null"]).task
    assert list(listed.heads) == ["age"] and listed.unlabelled is not None


def test_samples_of_a_head_that_is_not_picked_are_not_made(tmp_path):
    file = tmp_path / "t.yaml"
    file.write_text("cards: [mask18]\nheads: [mask, age]\nrsg: {head: age}\n")
    assert load_plan(str(file), heads=["mask"]).task.rsg is None
    assert load_plan(str(file), heads=["age"]).task.rsg is not None
    assert pretext_plan(load_plan(str(file)), "rotation").task.rsg is None
    with pytest.raises(ProblemsError, match="loss_balance: famo sees each batch twice"):
        load_plan(str(file), overrides=["loss_balance=famo"])


def test_heads_on_a_frozen_trunk_learn_faster_unless_a_rate_is_given():
    assert load_plan("mask18").task.optimiser.lr == 5e-4
    assert load_plan("mask18", overrides=["trunk.freeze=true"]).task.optimiser.lr == 0.01
    assert load_plan("mask18", overrides=["trunk.freeze=true", "optimiser.lr=0.002"]).task.optimiser.lr == 0.002
    assert load_plan("mask18", overrides=["trunk.freeze=true", "optimiser.name=sgd"]).task.optimiser.lr == 0.01
