"""Golden values of PyTorch's optimisers on a small fixed problem, for agents/tests/golden/optimizers.json.

    python3 scripts/peers/optimizers.py > agents/tests/golden/optimizers.json

The problem, for i in 0..17 and steps t = 1, 2, ..., 100, all in float32 but for the sine:

    p_i at the start = 0.05 * (i - 8)             computed in float64, rounded once to float32
    c_i              = sin(i + 0.1 * t)           computed in float64, rounded once to float32
    g_i              = (scale * c_i) * (1 + p_i)  float32, each operation rounded, p before the step

`scale` is each case's own; weight decay and momentum are 0. Parameters are listed after steps 1, 2, 5, 10, 50 and 100.
`float64_gap` is the largest difference from the same run in float64: what the rounding of float32 alone amounts to.
"""

import json
import sys

from peer_env import TORCH, enter

enter("torch", *TORCH)

import numpy as np  # noqa: E402
import torch  # noqa: E402

N_PARAMS = 17
STEPS = (1, 2, 5, 10, 50, 100)
CASES = {
    "adam": ("Adam", 1.0, dict(lr=2.5e-4, betas=(0.9, 0.999), eps=1e-8)),
    "adam_fast_betas": ("Adam", 1.0, dict(lr=1e-2, betas=(0.5, 0.9), eps=1e-5)),
    "adam_tiny_gradient": ("Adam", 1e-6, dict(lr=2.5e-4, betas=(0.9, 0.999), eps=1e-8)),
    "adam_zero_gradient": ("Adam", 0.0, dict(lr=2.5e-4, betas=(0.9, 0.999), eps=1e-8)),
    "rmsprop": ("RMSprop", 1.0, dict(lr=1e-3, alpha=0.99, eps=1e-8, centered=False)),
    "rmsprop_large_eps": ("RMSprop", 1.0, dict(lr=2.5e-4, alpha=0.95, eps=1e-2, centered=False)),
    "rmsprop_tiny_gradient": ("RMSprop", 1e-6, dict(lr=1e-3, alpha=0.99, eps=1e-8, centered=False)),
    "rmsprop_centered": ("RMSprop", 1.0, dict(lr=2.5e-4, alpha=0.95, eps=1e-2, centered=True)),
    "rmsprop_centered_small_eps": ("RMSprop", 1.0, dict(lr=1e-3, alpha=0.9, eps=1e-5, centered=True)),
    "rmsprop_centered_tiny_gradient": ("RMSprop", 1e-3, dict(lr=2.5e-4, alpha=0.95, eps=1e-2, centered=True)),
    "radam": ("RAdam", 1.0, dict(lr=5e-4, betas=(0.9, 0.999), eps=1e-8)),
    "radam_fast_betas": ("RAdam", 1.0, dict(lr=1e-2, betas=(0.8, 0.99), eps=1e-5)),
    "radam_tiny_gradient": ("RAdam", 1e-6, dict(lr=5e-4, betas=(0.9, 0.999), eps=1e-8)),
    "rmsprop_keras": ("RMSprop", 1.0, dict(lr=1e-3, alpha=0.9, eps=1e-7, centered=False)),
    "adadelta_keras": ("Adadelta", 1.0, dict(lr=1.0, rho=0.95, eps=1e-7)),
    "adadelta_large_eps": ("Adadelta", 1.0, dict(lr=0.1, rho=0.9, eps=1e-3)),
    "adadelta_tiny_gradient": ("Adadelta", 1e-6, dict(lr=1.0, rho=0.95, eps=1e-7)),
}


def replay(optimizer: str, scale: float, settings: dict, dtype: torch.dtype) -> dict[int, torch.Tensor]:
    """Parameters after each of STEPS."""
    i = np.arange(N_PARAMS)
    p = torch.tensor((0.05 * (i - 8)).astype(np.float32)).to(dtype).requires_grad_()
    optim = getattr(torch.optim, optimizer)([p], **settings)
    seen = {}
    for t in range(1, max(STEPS) + 1):
        c = torch.tensor(np.sin(i + 0.1 * t).astype(np.float32)).to(dtype)
        p.grad = (torch.tensor(scale, dtype=dtype) * c) * (1 + p.detach())
        optim.step()
        if t in STEPS:
            seen[t] = p.detach().clone()
    return seen


def shortest(values: torch.Tensor) -> list[float]:
    """The shortest decimals that read back as the same float32."""
    return [float(str(v)) for v in values.numpy()]


def main() -> None:
    cases = []
    for name, (optimizer, scale, settings) in CASES.items():
        single = replay(optimizer, scale, settings, torch.float32)
        double = replay(optimizer, scale, settings, torch.float64)
        gap = max((single[t] - double[t]).abs().max().item() for t in STEPS)
        print(f"{name:32} float64 gap {gap:.1e}", file=sys.stderr)
        params = {str(t): shortest(values) for t, values in single.items()}
        given = dict(name=name, optimizer=optimizer, scale=scale, **settings)
        cases.append(dict(**given, float64_gap=float(f"{gap:.1e}"), params=params))
    about = (
        "PyTorch's optimisers after some steps; "
        "scripts/peers/optimizers.py made this and says the problem's formula"
    )
    rows = ",\n".join("  " + json.dumps(case) for case in cases)
    print(f'{{"about": {json.dumps(about)}, "torch": "{torch.__version__.split("+")[0]}", "cases": [\n{rows}\n]}}')


if __name__ == "__main__":
    main()
