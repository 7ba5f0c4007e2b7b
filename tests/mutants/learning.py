"""Faults in what is computed: losses, methods, choices, measures."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

SHARED = "pipeline/methods/shared"
TESTS = "tests/pipeline"
METHODS = f"{TESTS}/methods"
CHOICES = f"{TESTS}/acquisition/test_planted.py"
OTHER_CHOICES = f"{TESTS}/acquisition/test_planted_kinds.py"

LOSSES = (
    Mutant(
        "ignored pixels dilute the cross-entropy",
        f"{SHARED}/losses.py",
        "return total / (masks_BHW != IGNORE).sum().clamp(min=1)",
        "return total / masks_BHW.numel()",
        f"{METHODS}/shared/test_losses.py",
    ),
    Mutant(
        "padding is learnt as class 255 would be",
        f"{SHARED}/losses.py",
        "(weights_BHW > 0) & valid_BHW, pseudo_BHW, IGNORE)",
        "weights_BHW > 0, pseudo_BHW, IGNORE)",
        f"{METHODS}/shared/test_losses.py, {METHODS}/test_fixmatch.py",
    ),
    Mutant(
        "the mean is over the reliable pixels alone",
        f"{SHARED}/losses.py",
        "    return total / valid_BHW.sum().clamp(min=1)",
        "    return total / (weights_BHW * valid_BHW).sum().clamp(min=1)",
        f"{METHODS}/shared/test_losses.py",
    ),
    Mutant(
        "the distance of probabilities is summed over classes",
        f"{SHARED}/losses.py",
        ".square().mean(dim=1)",
        ".square().sum(dim=1)",
        f"{METHODS}/shared/test_losses.py",
    ),
    Mutant(
        "the auxiliary head weighs as much as the main one",
        f"{SHARED}/losses.py",
        "return loss + AUXILIARY_WEIGHT * pixel_loss",
        "return loss + pixel_loss",
        f"{TESTS}/models/test_ddrnet.py, {TESTS}/training/test_supervised_loss.py",
    ),
    Mutant(
        "unlabelled images teach at full weight from the first step",
        f"{SHARED}/losses.py",
        "(1.0 - min(step / num_steps, 1.0)) ** 2",
        "(1.0 - min(num_steps, 1.0)) ** 2",
        f"{METHODS}/shared/test_losses.py",
    ),
    Mutant(
        "the teacher follows ten times too fast",
        f"{SHARED}/ema_teacher.py",
        "keep = min(1.0 - 1.0 / (step + 1), self.decay)",
        "keep = min(1.0 - 1.0 / (step + 1), self.decay**10)",
        f"{METHODS}/shared/test_ema_teacher.py",
    ),
    Mutant(
        "the teacher's batch norms see unlabelled images",
        f"{SHARED}/ema_teacher.py",
        "return super().train(False)",
        "return super().train(mode)",
        f"{METHODS}/shared/test_ema_teacher.py",
    ),
    Mutant(
        "the discriminator is told the opposite",
        f"{SHARED}/adversarial.py",
        "torch.full_like(logits, float(real))",
        "torch.full_like(logits, float(not real))",
        f"{METHODS}/shared/test_adversarial.py",
    ),
    Mutant(
        "contrast multiplies by the temperature",
        f"{SHARED}/contrast.py",
        "dim=1) / temperature",
        "dim=1) * temperature",
        f"{METHODS}/shared/test_contrast.py",
    ),
    Mutant(
        "virtual adversarial steps go where the prediction stays",
        f"{SHARED}/vat.py",
        "return _rescaled(gradients, norm)",
        "return _rescaled([torch.randn_like(each) for each in gradients], norm)",
        f"{METHODS}/shared/test_vat.py",
    ),
)

METHOD_FAULTS = (
    Mutant(
        "lambda(t) is not ramped up",
        f"{SHARED}/base.py",
        "self.params.consistency_weight * ramp_up(step, num_ramp_steps)",
        "self.params.consistency_weight * ramp_up(step, 0)",
        f"{METHODS}/test_fixmatch.py",
    ),
    Mutant(
        "padding is pasted as a class",
        f"{SHARED}/base.py",
        "torch.where(unlabelled.valid_BHW, pseudo_BHW, IGNORE)",
        "pseudo_BHW",
        f"{METHODS}/shared/test_mixing.py",
    ),
    Mutant(
        "what is said stays where the pixels were before mixing",
        f"{SHARED}/mixing.py",
        "return torch.where(mask, partners(values), values)",
        "return torch.where(mask, values, values)",
        f"{METHODS}/shared/test_mixing.py",
    ),
    Mutant(
        "FixMatch learns the pixels that it is unsure of",
        "pipeline/methods/fixmatch.py",
        "return predicted.confidence_BHW >= self.params",
        "return predicted.confidence_BHW < self.params",
        f"{METHODS}/test_fixmatch.py",
    ),
    Mutant(
        "Mean Teacher compares with the unmixed target",
        "pipeline/methods/mean_teacher.py",
        "target_BKHW = mix.moved(probs_BKHW)",
        "target_BKHW = probs_BKHW.flip(0)",
        f"{METHODS}/test_mean_teacher.py",
    ),
    Mutant(
        "UA-MT learns where the teacher is unsure",
        "pipeline/methods/ua_mt.py",
        "unlabelled.weak_BCHW) < self._limit(step)",
        "unlabelled.weak_BCHW) > self._limit(step)",
        f"{METHODS}/test_ua_mt.py",
    ),
    Mutant(
        "CPS: each network labels for itself",
        "pipeline/methods/cps.py",
        "((self.student, others_BKHW), (self.other, own_BKHW))",
        "((self.student, own_BKHW), (self.other, others_BKHW))",
        f"{METHODS}/test_cps.py",
    ),
    Mutant(
        "U2PL takes unsure pixels for sure ones",
        "pipeline/methods/u2pl.py",
        "reliable_BHW=valid_BHW & (entropy_BHW <= high)",
        "reliable_BHW=valid_BHW & (entropy_BHW >= high)",
        f"{METHODS}/test_u2pl.py",
    ),
    Mutant(
        "ReCo draws keys from the anchor's own class",
        "pipeline/methods/reco.py",
        "cosines_P[place] = -torch.inf",
        "cosines_P[place] = cosines_P[place]",
        f"{METHODS}/test_reco.py",
    ),
    Mutant(
        "SoftMatch weighs sure pixels down instead of unsure ones",
        "pipeline/methods/softmatch.py",
        "[pseudo_BHW]).clamp(max=0.0)",
        "[pseudo_BHW]).clamp(min=0.0)",
        f"{METHODS}/test_pixel_weights.py",
    ),
    Mutant(
        "FlexMatch has no warm-up",
        "pipeline/methods/flexmatch.py",
        "effects_K / effects_K.max().maximum(unused)",
        "effects_K / effects_K.max().clamp(min=1e-6)",
        f"{METHODS}/test_pixel_weights.py",
    ),
    Mutant(
        "FreeMatch divides by the least sure class",
        "pipeline/methods/freematch.py",
        "* means_K / means_K.max()",
        "* means_K / means_K.min()",
        f"{METHODS}/test_pixel_weights.py",
    ),
    Mutant(
        "Soft Teacher's foreground weighs its confidence too",
        "pipeline/methods/soft_teacher.py",
        "predicted.confidence_BHW, trusted_BHW.float())",
        "predicted.confidence_BHW, predicted.confidence_BHW)",
        f"{METHODS}/test_pixel_weights.py",
    ),
    Mutant(
        "CBST labels the least sure share of a class",
        "pipeline/methods/cbst.py",
        "sort(descending=True)",
        "sort(descending=False)",
        f"{METHODS}/shared/test_self_training.py::test_cbst_labels_the_surest_share_of_every_class",
    ),
    Mutant(
        "UniMatch V2's second view keeps what the first keeps",
        "pipeline/methods/unimatch_v2.py",
        "torch.cat([mask, 2 - mask])",
        "torch.cat([mask, mask])",
        f"{METHODS}/test_unimatch.py",
    ),
    Mutant(
        "UniMatch's perturbed features weigh nothing",
        "pipeline/methods/unimatch_v1.py",
        "self.options.feature_weight * features",
        "0.0 * features",
        f"{METHODS}/test_unimatch.py",
    ),
    Mutant(
        "CCT's main decoder learns from the auxiliary ones",
        "pipeline/methods/cct.py",
        "        with torch.no_grad():\n            target_BKHW = steady",
        "        with torch.enable_grad():\n            target_BKHW = steady",
        f"{METHODS}/test_cct.py",
    ),
)

STRATEGY_FAULTS = (
    Mutant(
        "the audit takes the first images instead of random ones",
        "pipeline/acquisition/audit_share.py",
        "return rng.choice(len(pool), size=num, replace=False)",
        "return np.arange(num)",
        CHOICES,
    ),
    Mutant(
        "the audit share is rounded to nothing",
        "pipeline/acquisition/audit_share.py",
        "max(1, round(audit_share * query_size))",
        "round(audit_share * query_size)",
        CHOICES,
    ),
    Mutant(
        "the least uncertain are asked for",
        "pipeline/acquisition/most_uncertain.py",
        "pool.ranking(name)[:num], start=1)",
        "pool.ranking(name)[::-1][:num], start=1)",
        CHOICES,
    ),
    Mutant(
        "power draws without looking at scores",
        "pipeline/acquisition/power.py",
        "(np.log(scores_N.clip(LEAST)) + noise_N)",
        "noise_N",
        CHOICES,
    ),
    Mutant(
        "random takes the first",
        "pipeline/acquisition/random.py",
        "for row in rng.choice(len(pool), size=num, replace=False)",
        "for row in range(num)",
        CHOICES,
    ),
    Mutant(
        "k-center forgets what it has just chosen",
        "pipeline/acquisition/diversity.py",
        "near = np.flatnonzero(least_BB[at] <= gap_B**2)",
        "near = np.flatnonzero(least_BB[at] > gap_B**2)",
        f"{TESTS}/acquisition/test_diversity.py",
    ),
    Mutant(
        "k-center does not look at what is labelled",
        "pipeline/acquisition/k_center.py",
        "pool.labelled_embeddings_MD, num)",
        "pool.labelled_embeddings_MD[:0], num)",
        CHOICES,
    ),
    Mutant(
        "two steps: the second looks at all candidates",
        "pipeline/acquisition/two_step.py",
        "min(len(pool), params.prefilter * num)",
        "len(pool)",
        CHOICES,
    ),
    Mutant(
        "classes with many labels weigh most",
        "pipeline/acquisition/class_weighted_entropy.py",
        "weights_K = 1.0 / np.maximum(labelled_shares_K, LEAST_SHARE)",
        "weights_K = np.maximum(labelled_shares_K, LEAST_SHARE)",
        CHOICES,
    ),
    Mutant(
        "stratified draws forget the class's share",
        "pipeline/acquisition/stratified_random.py",
        "found.shares_NK[:, wanted] * left",
        "left.astype(float)",
        CHOICES,
    ),
    Mutant(
        "a cold start takes outliers",
        "pipeline/acquisition/diversity.py",
        "own_ND.mean(axis=0)).argmin()",
        "own_ND.mean(axis=0)).argmax()",
        CHOICES,
    ),
    Mutant(
        "badge starts at the smallest gradient",
        "pipeline/acquisition/badge.py",
        "rows = [int(length_N.argmax())]",
        "rows = [int(length_N.argmin())]",
        OTHER_CHOICES,
    ),
    Mutant(
        "cluster_margin takes all of one group",
        "pipeline/acquisition/cluster_margin.py",
        "for _, at, place in sorted(turns)[:num]:",
        "for _, at, place in turns[:num]:",
        OTHER_CHOICES,
    ),
    Mutant(
        "domain_density prefers what is like the labels",
        "pipeline/acquisition/domain_density.py",
        "far_N / np.maximum(far_N + near_N, 1e-12)",
        "near_N / np.maximum(far_N + near_N, 1e-12)",
        OTHER_CHOICES,
    ),
    Mutant(
        "herding does not count its own picks",
        "pipeline/acquisition/herding.py",
        "        have_N += _kernel(points_ND, points_ND[row], width)\n",
        "",
        OTHER_CHOICES,
    ),
    Mutant(
        "typiclust takes the least typical",
        "pipeline/acquisition/typiclust.py",
        "NUM_NEIGHBOURS).argmin()",
        "NUM_NEIGHBOURS).argmax()",
        OTHER_CHOICES,
    ),
)

MEASURES = (
    Mutant(
        "the union of an IoU counts hits twice",
        "pipeline/metrics/iou.py",
        "confusion_KK.sum(0) + confusion_KK.sum(1) - hits",
        "confusion_KK.sum(0) + confusion_KK.sum(1)",
        f"{TESTS}/metrics/test_iou.py",
    ),
    Mutant(
        "ignored pixels count as errors",
        "pipeline/metrics/iou.py",
        "valid = truth_HW != IGNORE",
        "valid = truth_HW >= 0",
        f"{TESTS}/metrics/test_iou.py",
    ),
    Mutant(
        "confusion matrices are transposed",
        "pipeline/metrics/iou.py",
        "truth_HW[valid].long() * num_classes + predicted_HW[valid].long()",
        "predicted_HW[valid].long() * num_classes + truth_HW[valid].long()",
        f"{TESTS}/metrics/test_iou.py",
    ),
    Mutant(
        "a class that is not there has IoU 0",
        "pipeline/metrics/iou.py",
        "return [iou if size else None for",
        "return [iou if size else 0.0 for",
        f"{TESTS}/metrics/test_iou.py",
    ),
    Mutant(
        "entropy grows with certainty",
        "pipeline/metrics/information.py",
        "return -bits_X.reshape",
        "return bits_X.reshape",
        f"{TESTS}/uncertainty/test_scores.py",
    ),
    Mutant(
        "margin is large where the model is sure",
        "pipeline/uncertainty/scores.py",
        "return (1 - (first_HW - second_HW)).clip(0, 1)",
        "return (first_HW - second_HW).clip(0, 1)",
        f"{TESTS}/uncertainty/test_scores.py",
    ),
    Mutant(
        "a model that is too sure gets a lower temperature",
        "pipeline/uncertainty/calibration.py",
        "return math.exp(found.x)",
        "return math.exp(-found.x)",
        f"{TESTS}/uncertainty/test_calibration.py",
    ),
    Mutant(
        "the calibration error is signed: too sure and too unsure cancel out",
        "pipeline/uncertainty/calibration.py",
        "each.share * abs(each.confidence - each.accuracy)",
        "each.share * (each.confidence - each.accuracy)",
        f"{TESTS}/uncertainty/test_calibration.py",
    ),
)

LEARNING: dict[str, tuple[Mutant, ...]] = {
    "Losses and the teacher": LOSSES,
    "Methods": METHOD_FAULTS,
    "Strategies": STRATEGY_FAULTS,
    "Measures": MEASURES,
}
