"""Golden values of DQN's parts, for agents/tests/golden/parts.json.

    python3 scripts/peers/parts.py > agents/tests/golden/parts.json

Targets and losses from PyTorch in float32, gradients from its autograd. Losses are means over the batch of each
transition's loss times its weight.

`categorical`: C51, 4 transitions of 3 actions and 7 atoms in -2..3. Targets by the projection of Bellemare et al. 2017,
    algorithm 1, written as equation 7 (a hat function for each pair of atoms); `divergence` is F.kl_div.
`quantile`: QR-DQN, 4 transitions of 3 actions and 5 quantiles; `losses` are those of each transition.
`implicit`: IQN, 2 transitions, 3 fractions, 2 actions; outputs [B, K, actions].
`munchausen`: targets of a scalar head, alpha 0.9, tau 0.03, clipped at -1.
`noisy`: a factorised noisy layer of 4 inputs and 3 outputs: parameters [weight, bias], and the gradient of its sigmas.
`prioritized`: probabilities and weights with alpha 0.5, beta 0.4 and 1e-6 added to the priorities, in float64.
"""

import json

from peer_env import TORCH, enter

enter("torch", *TORCH)

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

ACTIONS = torch.tensor([0, 2, 1, 2])
RETURNS = torch.tensor([1.0, 0.0, -1.0, 0.5])
DISCOUNTS = torch.tensor([0.99, 0.99, 0.0, 0.9])
WEIGHTS = torch.tensor([1.0, 0.5, 0.25, 0.8])


def shortest(values) -> list:
    """Nested lists of the shortest decimals that read back as the same float32."""
    array = np.asarray(values, dtype=np.float32)
    return [shortest(row) for row in array] if array.ndim else float(str(array[()]))


def plain(**tensors) -> dict:
    return {name: shortest(tensor.detach()) for name, tensor in tensors.items()}


def taken(values: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    return values[torch.arange(len(actions)), actions]


def categorical(rng: torch.Generator) -> dict:
    z = torch.linspace(-2, 3, 7)
    delta = z[1] - z[0]
    logits, logits_t = (2 * torch.randn(4, 3, 7, generator=rng) for _ in range(2))
    probs_t = logits_t.softmax(2)
    values_t = (probs_t * z).sum(2)
    p = taken(probs_t, values_t.argmax(1))
    moved = (RETURNS[:, None] + DISCOUNTS[:, None] * z).clamp(-2, 3)
    hats = (1 - (moved[:, :, None] - z).abs() / delta).clamp(0, 1)
    targets = (p[:, :, None] * hats).sum(1)
    logits.requires_grad_()
    log_probs = taken(logits.log_softmax(2), ACTIONS)
    loss = -(WEIGHTS * (targets * log_probs).sum(1)).mean()
    divergence = F.kl_div(log_probs, targets, reduction="none").sum(1)
    gradient = torch.autograd.grad(loss, logits)[0]
    return plain(
        logits=logits, logits_t=logits_t, returns=RETURNS, discounts=DISCOUNTS, weights=WEIGHTS, values_t=values_t,
        targets=targets, loss=loss, gradient=gradient, divergence=divergence,
    )  # fmt: skip


def quantile_losses(theta: torch.Tensor, taus: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """`theta` and `taus` [B, N], `targets` [B, M]; sums over N of means over M."""
    theta, targets = torch.broadcast_tensors(theta[:, :, None], targets[:, None, :])
    huber = F.huber_loss(theta, targets, reduction="none", delta=1.0)
    weight = (taus[:, :, None] - (targets < theta).float()).abs()
    return (weight * huber).mean(2).sum(1)


def quantile(rng: torch.Generator) -> dict:
    taus = ((torch.arange(5) + 0.5) / 5).expand(4, 5)
    quantiles, quantiles_t = (2 * torch.randn(4, 3, 5, generator=rng) for _ in range(2))
    greedy = quantiles_t.mean(2).argmax(1)
    targets = RETURNS[:, None] + DISCOUNTS[:, None] * taken(quantiles_t, greedy)
    quantiles.requires_grad_()
    losses = quantile_losses(taken(quantiles, ACTIONS), taus, targets)
    loss = (WEIGHTS * losses).mean()
    gradient = torch.autograd.grad(loss, quantiles)[0]
    return plain(
        quantiles=quantiles, quantiles_t=quantiles_t, returns=RETURNS, discounts=DISCOUNTS, weights=WEIGHTS,
        targets=targets, losses=losses, loss=loss, gradient=gradient,
    )  # fmt: skip


def implicit(rng: torch.Generator) -> dict:
    quantiles, quantiles_t = (2 * torch.randn(2, 3, 2, generator=rng) for _ in range(2))
    taus = torch.rand(2, 3, generator=rng)
    returns, discounts, weights, actions = RETURNS[:2], DISCOUNTS[:2], WEIGHTS[:2], torch.tensor([1, 0])
    greedy = quantiles_t.mean(1).argmax(1)
    targets = returns[:, None] + discounts[:, None] * taken(quantiles_t.transpose(1, 2), greedy)
    quantiles.requires_grad_()
    losses = quantile_losses(taken(quantiles.transpose(1, 2), actions), taus, targets)
    loss = (weights * losses).mean()
    gradient = torch.autograd.grad(loss, quantiles)[0]
    return plain(
        quantiles=quantiles, quantiles_t=quantiles_t, taus=taus, returns=returns, discounts=discounts, weights=weights,
        targets=targets, loss=loss, gradient=gradient,
    )  # fmt: skip


def munchausen(rng: torch.Generator) -> dict:
    tau = 0.03
    q_tm1, q_t = (0.1 * torch.randn(4, 3, generator=rng) for _ in range(2))
    log_pi, log_pi_t = ((q / tau).log_softmax(1) for q in (q_tm1, q_t))
    own = 0.9 * (tau * taken(log_pi, ACTIONS)).clamp(-1, 0)
    value = (log_pi_t.exp() * (q_t - tau * log_pi_t)).sum(1)
    targets = RETURNS + own + DISCOUNTS * value
    return plain(q_tm1=q_tm1, q_t=q_t, r_t=RETURNS, discount_t=DISCOUNTS, targets=targets)


def noisy(rng: torch.Generator) -> dict:
    normal_in, normal_out = torch.randn(4, generator=rng), torch.randn(3, generator=rng)
    f_in, f_out = (x.sign() * x.abs().sqrt() for x in (normal_in, normal_out))
    mean, sigma = torch.randn(15, generator=rng), (0.5 * torch.rand(15, generator=rng)).requires_grad_()
    params = mean + sigma * torch.cat([torch.outer(f_in, f_out).flatten(), f_out])
    x, d_y = torch.randn(2, 4, generator=rng), torch.randn(2, 3, generator=rng)
    y = x @ params[:12].view(4, 3) + params[12:]
    d_mean, d_sigma = torch.autograd.grad((y * d_y).sum(), [params, sigma])
    return plain(
        normal_in=normal_in, normal_out=normal_out, mean=mean, sigma=sigma, params=params, d_mean=d_mean,
        d_sigma=d_sigma,
    )  # fmt: skip


def prioritized() -> dict:
    priorities = np.float32([0.5, 2.0, 0.0, 1.5, 0.1])
    scaled = (priorities.astype(np.float64) + 1e-6) ** 0.5
    probabilities = scaled / scaled.sum()
    weights = (len(priorities) * probabilities) ** -0.4
    weights /= weights.max()
    return dict(
        priorities=shortest(priorities), probabilities=shortest(probabilities), weights=shortest(weights)
    )


def main() -> None:
    rng = torch.Generator().manual_seed(0)
    cases = {case.__name__: case(rng) for case in (categorical, quantile, implicit, munchausen, noisy)}
    cases["prioritized"] = prioritized()
    about = "Parts of DQN; scripts/peers/parts.py made this and says each formula"
    rows = ",\n".join(f'"{name}": {json.dumps(case)}' for name, case in cases.items())
    print(f'{{"about": {json.dumps(about)}, "torch": "{torch.__version__.split("+")[0]}",\n{rows}}}')


if __name__ == "__main__":
    main()
