"""Golden values of the losses and returns, for agents/tests/golden/losses.json.

    python3 scripts/peers/losses.py > agents/tests/golden/losses.json

`td`: a 4 x 3 random case, from PyTorch's autograd in float32.
    q_learning_td  = r_t + discount_t * max_a q_t[a]                        - q_tm1[a_tm1]
    double_q_td    = r_t + discount_t * q_t[argmax_a q_t_selector[a]]       - q_tm1[a_tm1]
    huber          = mean over the batch of (0.5 td^2 if |td| < 1 else |td| - 0.5), half_squared = mean of 0.5 td^2;
    *_grad         = their gradient by q_tm1, targets held constant, td being q_learning_td.
`lambda_returns`: T = 5 steps of N = 2 environments, in float64 from the definition (a weighted sum of n-step returns),
    not from the recursion G_t = r_t + discount_t * ((1 - lambda_t) * v_t + lambda_t * G_{t+1}) that an implementation
    would use. Here v_t is the value of the state *after* step t (its last one bootstraps), discount_t is 0 where the
    episode terminated, and lambda_t is 0 where it was truncated, so that nothing flows across the cut.
"""

import json

from peer_env import TORCH, enter

enter("torch", *TORCH)

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402


def shortest(values) -> list:
    """Nested lists of the shortest decimals that read back as the same float32."""
    array = np.asarray(values, dtype=np.float32)
    return [shortest(row) for row in array] if array.ndim else float(str(array[()]))


def td_case() -> dict:
    rng = torch.Generator().manual_seed(0)
    q_tm1, q_t, q_t_selector = (2 * torch.randn(4, 3, generator=rng) for _ in range(3))
    a_tm1 = torch.tensor([0, 2, 1, 2])
    r_t = torch.tensor([1.0, 0.0, -1.0, 0.5])
    discount_t = torch.tensor([0.99, 0.99, 0.0, 0.9])

    q_tm1.requires_grad_()
    q_a = q_tm1.gather(1, a_tm1[:, None]).squeeze(1)
    target = r_t + discount_t * q_t.amax(1)
    double_target = r_t + discount_t * q_t.gather(1, q_t_selector.argmax(1, keepdim=True)).squeeze(1)
    huber = F.smooth_l1_loss(q_a, target)
    half_squared = 0.5 * F.mse_loss(q_a, target)
    td = (target - q_a).abs()
    assert td.min() < 1 < td.max(), "the case must reach both branches of Huber's loss"
    assert (target != double_target).any(), "the case must tell double Q-learning from Q-learning"
    tensors = dict(
        q_tm1=q_tm1, q_t=q_t, q_t_selector=q_t_selector, r_t=r_t, discount_t=discount_t,
        q_learning_td=target - q_a, double_q_td=double_target - q_a,
        huber=huber, huber_grad=torch.autograd.grad(huber, q_tm1, retain_graph=True)[0],
        half_squared=half_squared, half_squared_grad=torch.autograd.grad(half_squared, q_tm1)[0],
    )  # fmt: skip
    return dict(a_tm1=a_tm1.tolist(), **{name: shortest(t.detach()) for name, t in tensors.items()})


def lambda_return(t: int, r: list, discount: list, v: list, lam: list) -> float:
    """The lambda-return of one environment from step t: sum over n of the n-step return times its weight."""
    total, weight, rewards, scale = 0.0, 1.0, 0.0, 1.0
    for k in range(t, len(r)):
        rewards += scale * r[k]
        scale *= discount[k]
        stop = 1.0 if k == len(r) - 1 else 1.0 - lam[k]
        total += weight * stop * (rewards + scale * v[k])
        weight *= 1.0 - stop
    return total


def lambda_case() -> dict:
    steps, envs, gamma, lam = 5, 2, 0.99, 0.65
    rng = np.random.default_rng(0)
    r_t = [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    v_t = rng.normal(size=(steps, envs)).astype(np.float32).tolist()
    discount_t = [[gamma] * envs for _ in range(steps)]
    lambda_t = [[lam] * envs for _ in range(steps)]
    discount_t[1][0] = 0.0  # environment 0 terminates at step 1
    lambda_t[2][1] = 0.0  # environment 1 is truncated at step 2
    columns = [list(zip(*rows, strict=True)) for rows in (r_t, discount_t, v_t, lambda_t)]
    returns = [[lambda_return(t, *(c[env] for c in columns)) for env in range(envs)] for t in range(steps)]
    given = dict(gamma=gamma, r_t=r_t, discount_t=discount_t, lambda_t=lambda_t)
    return dict(**given, v_t=shortest(v_t), returns=shortest(returns))


def main() -> None:
    about = "Losses and returns; scripts/peers/losses.py made this and says each formula"
    cases = {"td": td_case(), "lambda_returns": lambda_case()}
    rows = ",\n".join(f'"{name}": {json.dumps(case)}' for name, case in cases.items())
    print(f'{{"about": {json.dumps(about)}, "torch": "{torch.__version__.split("+")[0]}",\n{rows}}}')


if __name__ == "__main__":
    main()
