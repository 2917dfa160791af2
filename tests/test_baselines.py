"""ODIN and the Mahalanobis ensemble under three protocols: what each may look at, and what it chooses."""

import torch

from thesis_utils import baselines, data, scorers

TUNING, TESTED = 40, 50


def sets():
    calibration = data.hold_out(data.load("digits_0_4", "train"))[1]
    oods = {name: data.load(name) for name in ("digits_5_9", "noise")}
    return data.load("digits_0_4"), calibration, oods


def test_odin_of_several_epsilons_is_odin_of_each(scorer):
    inputs = torch.randn(5, 3, 32, 32)
    ours = baselines.odin(scorer, inputs, (0.0, 0.002))
    for k, epsilon in enumerate((0.0, 0.002)):
        alone = scorers.odin(scorer.model, inputs, 1000.0, (epsilon,), scorer.normalise.std)
        torch.testing.assert_close(ours[:, k], alone[:, 0])


def test_blocks_without_a_step_are_the_scorers(scorer):
    inputs = torch.randn(5, 3, 32, 32)
    with torch.inference_mode():
        expected = scorer.block_scores(scorer.model.forward_layers(inputs)[1])
    torch.testing.assert_close(baselines.blocks(scorer, inputs, (0.0,))[:, 0], expected)


def test_tune_takes_the_epsilon_with_the_lowest_fpr_and_of_equals_the_smallest():
    known = torch.tensor([[0.0, 5.0, 9.0], [1.0, 6.0, 9.0]]).repeat(20, 1)
    unknown = torch.tensor([[0.5, 1.0, 2.0]]).repeat(40, 1)  # parted at the second and at the third
    assert baselines.tune(known, unknown, (0.0, 0.1, 0.2))[0] == 0.1


def test_no_image_is_both_tuned_and_tested_on(scorer):
    images, calibration, oods = sets()
    parts = baselines.Comparison(scorer, images, calibration, oods, TUNING, TESTED).parts
    seen = {name: {tuple(row) for row in part.pixels.flatten(1).tolist()} for name, part in parts.items()}
    for name in oods:
        assert len(seen[f"tune {name}"]) == TUNING and len(seen[f"test {name}"]) == TESTED
        assert not seen[f"tune {name}"] & seen[f"test {name}"]
    assert not seen["calibration"] & seen["known"]


def test_protocols_look_at_what_they_say(scorer, monkeypatch):
    """Under `none` another out-distribution changes nothing that is chosen; `held_out` and `oracle` may change."""
    images, calibration, oods = sets()
    odin, epsilons = baselines.METHODS["odin"]
    monkeypatch.setitem(baselines.METHODS, "odin", (odin, epsilons[::10]))
    monkeypatch.setitem(baselines.METHODS, "mahalanobis", (baselines.blocks, (0.0, 0.005)))
    held_out = {"noise": "digits_5_9", "digits_5_9": "noise"}
    found = dict(baselines.compare(scorer, images, calibration, oods, held_out, TUNING, TESTED))
    for ood, table in found.items():
        assert len(table) == 2 * 3 * 2 + 3 and table.ood.eq(ood).all() and table.notna().all(axis=None)
        rows = table.set_index(["method", "protocol", "preprocessing"])
        assert rows.loc[("odin", "held_out", True)].tuned_on == held_out[ood]
        assert (table[~table.preprocessing].epsilon == 0).all()
        assert (table[table.protocol != "grid"].n_ood == TESTED).all()
    none = [table[table.protocol.eq("none")].epsilon.tolist() for table in found.values()]
    assert none[0] == none[1]
    # the oracle on one set is the held-out choice on the other
    oracle = found["noise"].query("protocol == 'oracle'").epsilon.tolist()
    assert oracle == found["digits_5_9"].query("protocol == 'held_out'").epsilon.tolist()
