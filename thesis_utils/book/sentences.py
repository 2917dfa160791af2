"""What a table or figure of the book shows, in sentences computed from the same runs.

Each function takes what its table or figure takes and returns Markdown. Numbers are means over the seeds unless said
otherwise; where nothing is recorded the sentence says so.
"""

import numpy as np
from IPython.display import Markdown

from thesis_utils import metrics, runs
from thesis_utils.book import differences, experiments, open_world, tables, thesis
from thesis_utils.book.formatting import MISSING, label, model_label, score_label
from thesis_utils.book.tables import NETWORK, OOD

RELU, LOG_SOFTMAX, ENTROPY = (model_label(*cell) for cell in tables.GRID)
NOTHING = f"*{MISSING[0].upper()}{MISSING[1:]}.*"


def paragraph(*sentences):
    return Markdown(" ".join(filter(None, sentences)) or NOTHING)


def listed(items, last="and"):
    *most, final = map(str, items)
    return f"{', '.join(most)} {last} {final}" if most else final


def span(values, sign=""):
    """Numbers from the smallest to the largest, as text."""
    texts = dict.fromkeys(f"{value:{sign}.1f}" for value in (min(values), max(values)))
    return " to ".join(texts)


def names(oods):
    return listed(f"`{name}`" for name in oods) if len(oods) else "none"


def the(method):
    return f"the {method}" if method.endswith("ensemble") else method


def means(methods, profile=None, dataset=None, cells=tables.GRID, reading="fixed_direction"):
    """(ours, the thesis') in percent: rows (network, out-distribution), columns methods; ours without empty rows."""
    table = tables.tidy(profile, dataset, methods, cells)
    table = table[table.reading.isin((reading, ""))]
    table = table.assign(thesis=table.thesis.where(table.note.ne("misprint")))
    found = table.groupby([NETWORK, OOD, "method"], sort=False)[["ours", "thesis"]].mean()
    return (found[column].unstack(sort=False) for column in found)


def reseeded(run, ood):
    """All seeds of a run that have scored a set; of a folder of images the run itself."""
    return [one for one in runs.seeds(run.config) if ood in one.out_distributions()] or [run]


def block(run, ood, number, reading="best_direction", score="min_of_misp"):
    """AUROC (percent) of a score in a block of the network: the mean over its layers and all seeds."""
    return np.mean([differences.mean(differences.layers(one, ood, score, reading), number)[0]
                    for one in reseeded(run, ood)])  # fmt: skip


def final(run, ood, score="misp"):
    return np.mean([100 * tables.scored(one, ood, f"fc/{score}").auroc.item() for one in reseeded(run, ood)])


# --- training ---------------------------------------------------------------------------------------


def accuracy(profile=None, dataset=None):
    """What log-softmax, softmax and the entropy loss cost."""
    dataset = dataset or runs.configure(profile).dataset
    cells = [cell for cell in tables.ACCURACY_GRID if dataset != "cifar100" or cell in tables.GRID]
    ours, theirs = (found["accuracy"].droplevel(OOD) for found in means(["accuracy"], profile, dataset, cells))
    ours = ours.dropna()

    def lost(name, base):
        value, beside = ours[base] - ours[name], theirs[base] - theirs[name]
        said = f"{'loses' if value > 0 else 'gains'} {abs(value):.1f} points"
        return said + ("" if np.isnan(beside) else f" (thesis: {beside:.1f})")

    said = [f"Against ReLU, {says} {lost(name, RELU)}."
            for name, says in {LOG_SOFTMAX: "log-softmax (λ = 0)", "softmax": "softmax"}.items()
            if {name, RELU} <= {*ours.index}]  # fmt: skip
    factors = [name for name in ours.index if name.startswith("log-softmax")]
    if len(factors) > 1 and LOG_SOFTMAX in factors:
        steps = np.diff(ours[factors])
        at = "at every step" if (steps < 0).all() else f"in {(steps < 0).sum()} of {len(steps)} steps"
        said.append(f"From λ = 0 to {factors[-1][17:]} log-softmax {lost(factors[-1], LOG_SOFTMAX)}, falling {at}.")
    if len(off := (theirs - ours).dropna()):
        said.append(f"Ours differ from the thesis' accuracies by {span(-off, '+')} points.")
    return paragraph(*said)


def learning_curves(found):
    """Where the runs end, and how far an accuracy in the middle of a training misleads."""
    found = [run for run in found if run and len(run.history)]
    if not found:
        return paragraph()
    ends = sorted((run.history.cross_entropy.iloc[-1], label(run)) for run in found)
    best = sum(run.history.calibration_accuracy.idxmax() == run.history.index[-1] for run in found)
    falls = [(100 * run.history.calibration_accuracy.diff().min(), label(run)) for run in found if len(run.history) > 1]
    said = f"Cross-entropy ends between {ends[0][0]:.2f} nats ({ends[0][1]}) and {ends[-1][0]:.2f} ({ends[-1][1]})."
    if len(found) == 1:
        said = f"Cross-entropy ends at {ends[0][0]:.2f} nats."
    fall = min(falls, default=(0, ""))
    return paragraph(
        said, f"The best calibration accuracy is at the last epoch in {best} of {len(found)} runs.",
        f"The deepest fall from one epoch to the next is {-fall[0]:.0f} points ({fall[1]})." if fall[0] < 0 else "",
    )  # fmt: skip


def entropy_reductions(models):
    """How far each reduction's cost is from the thesis'."""
    costs = experiments.entropy_costs(models)
    if not costs:
        return paragraph()
    theirs, total = -costs["thesis"], -costs["sum, short trainings"]
    said = [f"Summed, the entropy loss costs {total.iloc[0]:.1f} points at λ = {total.index[0]:g}, its smallest; the "
            f"thesis lost {theirs.iloc[-1]:.1f} at its largest."]  # fmt: skip
    whole = -costs.get("mean, whole trainings", theirs[:0])
    if len(whole):
        said.append(f"Averaged over pixels, whole trainings lose {listed(f'{v:.1f}' for v in whole)} points at λ = "
                    f"{listed(f'{v:g}' for v in whole.index)}, where the thesis lost "
                    f"{listed(f'{v:.1f}' for v in theirs[whole.index])}.")  # fmt: skip
        over = -costs["mean over layers too"]
        for factor in [f for f in whole.index if over.index.min() <= f <= over.index.max()][:1]:
            value = np.interp(np.log(factor), np.log(over.index), over)
            said.append(f"Averaged over layers too, it costs {value:.1f} at λ = {factor:g} (on the green line).")
    return paragraph(*said)


# --- the final layer and the ensemble ---------------------------------------------------------------


def winners(methods, profile=None, dataset=None):
    """Which of some scores is the best, and how far ours are from the thesis'."""
    ours, theirs = means(methods, profile, dataset)
    ours = ours.dropna()
    if ours.empty:
        return paragraph()
    first = ours.idxmax(axis=1).value_counts()
    off = (ours - theirs).stack().dropna()
    each = listed(f"{the(name)} is the best in {n}" for name, n in first.items())
    said = f"Of {len(ours)} rows with numbers of ours, {each}."
    beside = f"Where the thesis has a number ({len(off)}), ours differ by {span(off, '+')} points." if len(off) else ""
    return paragraph(said, beside)


def difference(first, second, profile=None, dataset=None):
    """(ours, the thesis') of one score minus another, by network and out-distribution, where there are both."""
    return [(found[first] - found[second]).dropna() for found in means([first, second], profile, dataset)]


def compared(first, second, profile=None, dataset=None):
    """Where one score is ahead of another, by out-distribution."""
    ours, theirs = difference(first, second, profile, dataset)
    if ours.empty:
        return paragraph()
    sets = ours.groupby(OOD, sort=False)
    each = [f"{span(values, '+')} on `{name}`" for name, values in sorted(sets, key=lambda pair: -pair[1].mean())]
    ahead = f"{(ours > 0).sum()} of {len(ours)} pairs of a network and a set"
    return paragraph(
        f"{first} is ahead of {the(second)} in {ahead}: {listed(each)} (the range is over the networks).",
        f"In the thesis' numbers it is ahead in {(theirs > 0).sum()} of {len(theirs)}." if len(theirs) else "",
    )


# --- the layers -------------------------------------------------------------------------------------


def layer_bars(models, oods, reading="best_direction"):
    """In which blocks min of MiSP is ahead of Mahalanobis."""
    relu, soft = models.get(tables.GRID[0]), models.get(tables.GRID[1])
    said = []
    for ood in oods if relu and soft and all(run.can_score(ood) for run in (relu, soft) for ood in oods) else ():
        pair = (differences.layers(soft, ood, "min_of_misp", reading)[:, 0],
                differences.layers(relu, ood, "mahalanobis", "fixed_direction")[:, 0])  # fmt: skip
        theirs = [thesis.curve(cell, ood, soft.config.dataset) for cell in (tables.GRID[1], tables.GRID[0])]
        both = [[n for n in (1, 2, 3, 4) if differences.mean(a, n) > differences.mean(b, n)]
                for a, b in (pair, theirs) if a is not None]  # fmt: skip
        blocks = [listed(found) if found else "none" for found in both]
        beside = f" (thesis{', LSUN' if thesis.name_of(ood) != ood else ''}: {blocks[1]})" if len(blocks) > 1 else ""
        said.append(f"{blocks[0]} on `{ood}`{beside}")
    start = "Blocks in which min of MiSP (λ = 0) is on average ahead of Mahalanobis (ReLU): "
    return paragraph(said and f"{start}{'; '.join(said)}.")


def best_cell(run, ood, scores="layer.*_of_.*", reading="best_direction"):
    """(score, AUROC in percent) of the best of some scores in a reading, an oracle."""
    areas = tables.scored(run, ood, scores, reading).auroc
    return areas.idxmax(), 100 * areas.max()


def heat_map(run, oods, reading="best_direction"):
    """The framed cells, what their reading costs against the better direction, and whether they are min of MiSP's."""
    said, ahead, behind = [], [], []
    for ood in oods:
        (name, value), (_, upper) = best_cell(run, ood, reading=reading), best_cell(run, ood)
        against = "" if reading == "best_direction" else f", {upper:.1f} in the better direction"
        said.append(f"`{ood}` {value:.1f} ({score_label(name)}{against})")
        behind.append(value - best_cell(run, ood, "layer.*/min_of_misp", reading)[1])
        ahead += [ood] if name.endswith("/min_of_misp") else []
    return paragraph(
        f"The best cells: {'; '.join(said)}.",
        f"Min of MiSP has the best cell on {len(ahead)} of {len(said)} sets; its own best layer is at most "
        f"{max(behind):.1f} points behind.",
    )  # fmt: skip


def early_and_late(run, oods, reading="best_direction"):
    """{set: (block 1, block 4, MiSP at the final layer)}."""
    return {ood: (*(block(run, ood, number, reading) for number in (1, 4)), final(run, ood)) for ood in oods}


def trend(run, oods, reading="best_direction"):
    """Block 1 against block 4 and against the final layer."""
    if not run:
        return paragraph()
    found = early_and_late(run, oods, reading)
    each = [f"`{ood}` {early:.1f}, {late:.1f} and {end:.1f}" for ood, (early, late, end) in found.items()]
    late, end = ([ood for ood, values in found.items() if values[0] > values[at]] for at in (1, 2))
    return paragraph(
        f"Min of MiSP in block 1, in block 4, and MiSP at the final layer: {'; '.join(each)}.",
        f"Sets that block 1 tells apart better than block 4: {names(late)}; better than the final layer: {names(end)}.",
    )


def post_hoc(models, oods, reading="best_direction"):
    """What the retraining with log-softmax is worth: the first seeds' best layers, log-softmax minus ReLU."""
    relu, soft = models.get(tables.GRID[0]), models.get(tables.GRID[1])
    if not (relu and soft and all(run.can_score(ood) for run in (relu, soft) for ood in oods)):
        return paragraph()
    tops = {ood: [best_cell(run, ood, "layer.*/min_of_misp", reading)[1] for run in (soft, relu)] for ood in oods}
    each = [f"`{ood}` {first:.1f} and {second:.1f}" for ood, (first, second) in tops.items()]
    ahead = [ood for ood, (first, second) in tops.items() if second >= first]
    return paragraph(f"Min of MiSP at its best layer, log-softmax (λ = 0) and ReLU read post hoc: {'; '.join(each)}.",
                     f"Retraining with log-softmax is worth nothing here on: {names(ahead)}.")  # fmt: skip


def best(profile=None, dataset=None, oods=None):
    """How often the best layer is ahead of MSP and the ensemble, and what is left without choosing the direction."""
    methods = ("MSP", "Mahalanobis ensemble", "best aggregation")
    table = tables.tidy(profile, dataset, methods, oods=oods, all_seeds=False).dropna(subset="ours")
    places = [NETWORK, OOD]
    outer = table[table.method.ne(methods[2]) & table.reading.eq("fixed_direction")].groupby(places).ours.max()
    inner = table[table.method.eq(methods[2])].pivot(index=places, columns="reading", values="ours")
    if inner.empty:
        return paragraph()
    ahead, fixed = (inner.best_direction > outer).sum(), inner.fixed_direction < 50
    lost = inner.best_direction - inner.two_sided
    return paragraph(
        f"The best layer is ahead of MSP and the ensemble in {ahead} of {len(inner)} rows with numbers of ours.",
        f"In the fixed direction {fixed.sum()} of them fall below 50; two-sided they lose {span(lost)} points.",
    )


def histograms(run, oods, score="layer1.2/min_of_misp"):
    """On which side of the in-distribution each set lies."""
    known = run.scores(run.config.dataset)[score].median()
    sides = {ood: run.scores(ood)[score].median() for ood in oods}
    each = [f"`{ood}` {value:.1f}, {'above' if value > known else 'below'}" for ood, value in sides.items()]
    return paragraph(f"Medians: `{run.config.dataset}` {known:.1f}; {'; '.join(each)}.")


def roc(run, ood, scores=("fc/misp", "layer1.2/min_of_misp")):
    """The two ends of FPR95."""
    if not (run and run.can_score(ood)):
        return paragraph()
    shares = [100 * metrics.fpr_at_tpr(*differences.confidences(run, ood, score)) for score in scores]
    each = [f"{share:.0f}\N{NO-BREAK SPACE}% at {score.split('/')[0]}" for score, share in zip(scores, shares)]
    return paragraph(f"A threshold that accepts 95 % of `{run.config.dataset}` (dotted) accepts of `{ood}` "
                     f"{listed(each)} (MiSP, min of MiSP): its FPR95, the dot.")  # fmt: skip


def mixtures(ours):
    """How much the layers gain from the first mixture to the last."""
    gains = ours.iloc[:, -1] - ours.iloc[:, 0]
    early, late = (gains[gains.index.str.startswith(f"layer{number}")].mean() for number in (1, 4))
    return paragraph(
        f"From the first column to the last the AUROC changes by {early:+.1f} points in block 1, {late:+.1f} in block 4"
        f" (means of their layers) and {gains['fc']:+.1f} at the final layer."
    )


def straightness(table):
    """How far each metric is from the line between its ends, at most."""
    share = (table.index - table.index[0]) / (table.index[-1] - table.index[0])
    line = np.outer(1 - share, table.iloc[0]) + np.outer(share, table.iloc[-1])
    each = [f"{name} {value:.1f}" for name, value in abs(table - line).max().items()]
    return paragraph(
        f"Largest distance from the dashed line, in points: {'; '.join(each)}.",
        "AUROC and FPR95 with the in-distribution positive stray by sampling alone; what strays no further than these "
        "has not been seen to bend.",
    )


def profiles():
    """What moved from the first recorded profile to the last, in ReLU and in log-softmax networks."""
    said = []
    for activation, table in tables.by_profile().groupby("activation", sort=False):
        places = [place for place in table.place.unique() if place != "thesis"]
        if not places:
            continue
        values = table.pivot(index=["measure", "ood"], columns="place", values="ours")
        first, last = (place.replace("\n", ", ") for place in (places[0], places[-1]))
        to = places[-1] if len(places) > 1 else "thesis"
        moved = (values[to] - values[places[0]]).dropna().groupby(level=0)
        each = [
            f"{measure} {span(moved.get_group(measure), '+')}" for measure in tables.MAIN if measure in moved.groups
        ]
        start = (f"from {first} to {last}, in points" if len(places) > 1
                 else f"only {first} is recorded so far; the thesis' numbers minus these, in points")  # fmt: skip
        said.append(f"{model_label(activation)}, {start}: {'; '.join(each)}.")
    return paragraph(*said, "A range is over the sets." if said else "")


def at_places(differences):
    """A difference at each place of `tables.by_profile`, as text: "-3.7 (width 16, 10 epochs), +4.5 (thesis)"."""
    each = differences.dropna().items()
    return ", ".join(f"{value:+.1f} ({place})".replace("\n", ", ") for place, value in each)


def cost_by_profile():
    """What a log-softmax network (lambda 0) has more or less of accuracy than ReLU in each recorded profile."""
    table = tables.by_profile(oods=[])
    if table.empty:
        return paragraph()
    values = table.pivot(index="place", columns="activation", values="ours").reindex(table.place.unique())
    return paragraph(f"Log-softmax minus ReLU, in points of accuracy: {at_places(values.log_softmax - values.relu)}.")


def ahead_by_profile(first="MiSP", second="MSP", ood="svhn"):
    """By how much one score of the final layer is ahead of another in the networks of each recorded profile."""
    table, said = tables.by_profile(oods=[ood]).query("ood == @ood"), []
    for activation, found in table.groupby("activation", sort=False):
        values = found.pivot(index="place", columns="measure", values="ours").reindex(found.place.unique())
        gaps = at_places(values[f"{first} at fc"] - values[f"{second} at fc"])
        said.append(f"{first} minus {second} on `{ood}` ({model_label(activation)}), in points: {gaps}.")
    return paragraph(*said)


def worst_cases(metric="auroc"):
    """The detector's worst set, and that of the method whose worst is best, network by network: "auroc" or "called"."""
    rows = experiments.networks("open_world")
    if rows.empty:
        return paragraph()
    rows = rows[rows.auroc.notna() & rows.looks_at.ne(open_world.ORACLE) & ~rows.method.str.startswith("ours, ")]
    each = []
    for network, found in rows.groupby("network", sort=False):
        worst = 100 * open_world.with_worst(found, metric)[1]
        ours, others = worst["ours"], worst.drop("ours")
        each.append(f"{ours:.1f} beside {others.max():.1f} of {others.idxmax()} ({network})")
    return paragraph(f"On the set that it is worst at, ours beside the best of the others: {'; '.join(each)}.")


# --- the answer -------------------------------------------------------------------------------------


def holds(right, count):
    """How a claim fares that is right in some of its cases."""
    return "holds" if right == count else "does not hold" if right == 0 else f"holds in {right} of {count} cases"


def answer(profile=None):
    """The thesis' four claims and what the networks of a profile say of each, as a numbered list."""
    run = runs.find(runs.configure(profile))
    if not run:
        return paragraph()
    near, _ = runs.near_and_far(run.config.dataset)
    gains = difference("MiSP", "MSP", profile)[0]
    ensemble, chosen, beforehand = np.transpose([
        (differences.area(one, ood, "ensemble/mahalanobis_none")[0], best_cell(one, ood, "layer.*/min_of_misp")[1],
         best_cell(one, ood, "layer1.2/min_of_misp", "two_sided")[1])
        for cell, first in tables.grid(profile).items() if first and cell[0] == "log_softmax"
        for one in runs.seeds(first.config) for ood in one.out_distributions()
    ])  # fmt: skip
    ahead, fairly = (chosen > ensemble).sum(), (beforehand > ensemble).sum()
    found = early_and_late(run, run.out_distributions())
    right = [(late if ood == near else early) > (early if ood == near else max(late, end))
             for ood, (early, late, end) in found.items()]  # fmt: skip
    trained = next(means(["accuracy"], profile))["accuracy"].droplevel(OOD)
    cost = trained.get(RELU, np.nan) - trained.get(LOG_SOFTMAX, np.nan)
    lines = [
        f"**Accuracy survives the log-softmax: {'holds' if cost < 2 else 'does not hold'} to within two points.** "
        + f"{accuracy(profile).data} {cost_by_profile().data}",
        f"**MiSP beats MSP at the final layer: {holds(gains.gt(0).sum(), len(gains))}.** "
        + f"{compared('MiSP', 'MSP', profile).data} {ahead_by_profile().data}",
        f"**Min of MiSP rivals the Mahalanobis ensemble: {holds(ahead, len(chosen))}** if its layer and direction are "
        f"chosen on the tested images, as in the thesis: it is ahead in {ahead} of {len(chosen)} pairs of a trained "
        f"log-softmax network and a set. With both fixed beforehand (layer1.2, two-sided) it is ahead in {fairly}.",
        f"**Early layers see far, late layers see near: {holds(sum(right), len(right))}** (the near set: `{near}`). "
        + trend(run, run.out_distributions()).data,
    ]
    return Markdown("\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1)))
