from __future__ import annotations

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

from xview2_siamese_unet.config.training import SchedulerParams
from xview2_siamese_unet.training.schedule import learning_rate


@pytest.mark.parametrize(("period", "factor", "lowest"), [(1, 1, 0.0), (3, 1, 1e-4), (2, 2, 1e-5), (10, 3, 0.0)])
def test_the_rate_follows_the_curve_of_torch(period: int, factor: int, lowest: float) -> None:
    params = SchedulerParams(T_0=period, T_mult=factor, eta_min=lowest)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.01)
    reference = CosineAnnealingWarmRestarts(optimizer, T_0=period, T_mult=factor, eta_min=lowest)
    optimizer.step()
    for tenth in range(200):
        reference.step(tenth / 10)
        assert learning_rate(tenth / 10, 0.01, params) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-8)


def test_the_rate_rises_in_a_straight_line_before_the_first_period() -> None:
    params = SchedulerParams(T_0=4, eta_min=1e-4)
    rates = [learning_rate(epoch / 2, 0.01, params, warmup=2) for epoch in range(5)]
    assert rates == pytest.approx([1e-4, 0.002575, 0.00505, 0.007525, 0.01])
    assert learning_rate(3.5, 0.01, params, warmup=2) == learning_rate(1.5, 0.01, params)
