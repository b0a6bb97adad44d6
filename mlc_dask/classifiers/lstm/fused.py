"""The recurrent layers as one Triton kernel per layer, whose gates never leave the chip.

Triton comes with PyTorch for CUDA. Without a GPU the kernel runs in the interpreter of Triton
(``TRITON_INTERPRET=1``), which is enough to test that it is correct.
"""

from __future__ import annotations

from typing import Final

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from mlc_dask.data.errors import InputError

_PIXELS: Final = 64
"""Number of pixels per program."""

_UNITS: Final = 32
"""Number of hidden units whose four gates are summed in registers at a time."""

_DEPTH: Final = 32
"""Number of inputs that are multiplied at a time; layers are padded to a multiple of it."""


@triton.jit
def _sigmoid(x):
    return 1 / (1 + tl.exp(-x))


# A program takes a group of pixels through all steps in one direction. All programs share the weights through the
# second-level cache. Each program has its own outputs and cells, so only its own threads have to wait for each other.
@triton.jit
def _layer(
    x, weights, out, cells, steps, pixels,
    inputs: tl.constexpr, hidden: tl.constexpr, directions: tl.constexpr,
    some_pixels: tl.constexpr, some_units: tl.constexpr, some_inputs: tl.constexpr,
):  # fmt: skip
    """Compute outputs (T, N, directions * hidden) and last cells (N, directions * hidden) of inputs x (T, N, inputs).

    Weights are (directions, 4, hidden, inputs + hidden), with gates in the order of PyTorch. Cells must be zero.
    """
    wide: tl.constexpr = directions * hidden
    depth: tl.constexpr = inputs + hidden
    p = tl.program_id(0) * some_pixels + tl.arange(0, some_pixels)[:, None]
    d = tl.program_id(1)
    there = p < pixels
    for i in range(steps):
        t = tl.where(d == 0, i, steps - 1 - i)
        before = tl.where(d == 0, i - 1, steps - i)
        row = x + (t.to(tl.int64) * pixels + p) * inputs
        last = out + (before.to(tl.int64) * pixels + p) * wide + d * hidden
        for u in range(0, hidden, some_units):
            unit = u + tl.arange(0, some_units)[None, :]
            of_i = weights + (d * 4 * hidden + unit) * depth
            of_f, of_g, of_o = of_i + hidden * depth, of_i + 2 * hidden * depth, of_i + 3 * hidden * depth
            sum_i = tl.zeros((some_pixels, some_units), tl.float32)
            sum_f, sum_g, sum_o = sum_i, sum_i, sum_i
            for first in range(0, depth, some_inputs):
                k = first + tl.arange(0, some_inputs)
                if first < inputs:
                    a = tl.load(row + k[None, :], mask=there, other=0.0)
                else:
                    a = tl.load(last + k[None, :] - inputs, mask=there & (i > 0), other=0.0)
                k = k[:, None]
                sum_i = tl.dot(a, tl.load(of_i + k), sum_i)
                sum_f = tl.dot(a, tl.load(of_f + k), sum_f)
                sum_g = tl.dot(a, tl.load(of_g + k), sum_g)
                sum_o = tl.dot(a, tl.load(of_o + k), sum_o)
            at = cells + p * wide + d * hidden + unit
            c = _sigmoid(sum_f) * tl.load(at, mask=there, other=0.0) + _sigmoid(sum_i) * (2 * _sigmoid(2 * sum_g) - 1)
            tl.store(at, c, mask=there)
            h = _sigmoid(sum_o) * (2 * _sigmoid(2 * c) - 1)
            to = out + (t.to(tl.int64) * pixels + p) * wide + d * hidden + unit
            tl.store(to, h.to(out.dtype.element_ty), mask=there)
        # The next step reads outputs that other threads of this program wrote.
        tl.debug_barrier()


class FusedLSTM(nn.Module):
    """Replaces a batch-first LSTM without biases for inference; it returns the cells only.

    Parameters
    ----------
    lstm
        LSTM whose weights are used; its hidden size must be a multiple of 32.
    dtype
        Type of the factors, float16 or bfloat16; sums and cells are float32.
    """

    def __init__(self, lstm: nn.LSTM, dtype: torch.dtype) -> None:
        super().__init__()
        self.hidden, self.directions = lstm.hidden_size, 2 if lstm.bidirectional else 1
        assert not lstm.bias
        if self.hidden % _UNITS:
            raise InputError(
                f"MLC_DASK_CUDA=triton needs a hidden size that is a multiple of {_UNITS}, not {self.hidden}; unset it"
            )
        state = dict(lstm.named_parameters())
        self.layers = nn.ParameterList(
            nn.Parameter(self._packed(state, layer).to(dtype), requires_grad=False) for layer in range(lstm.num_layers)
        )

    def _packed(self, state: dict[str, nn.Parameter], layer: int) -> Tensor:
        made = []
        for suffix in ("", "_reverse")[: self.directions]:
            inputs = state[f"weight_ih_l{layer}{suffix}"].detach()
            padding = nn.functional.pad(inputs, (0, -inputs.shape[1] % _DEPTH))
            made.append(torch.cat([padding, state[f"weight_hh_l{layer}{suffix}"].detach()], dim=1))
        return torch.stack(made).reshape(self.directions, 4, self.hidden, -1)

    def forward(self, x: Tensor) -> tuple[None, tuple[None, Tensor]]:
        """Return the cells (layers * directions, N, hidden) float32 after all steps of `x` (N, T, inputs)."""
        pixels, steps, inputs = x.shape
        rows = nn.functional.pad(x.transpose(0, 1), (0, -inputs % _DEPTH)).contiguous()
        last_cells = []
        for weights in self.layers:
            wide = self.directions * self.hidden
            out = torch.empty((steps, pixels, wide), dtype=x.dtype, device=x.device)
            cells = torch.zeros((pixels, wide), dtype=torch.float32, device=x.device)
            _layer[(triton.cdiv(pixels, _PIXELS), self.directions)](
                rows, weights, out, cells, steps, pixels, rows.shape[2], self.hidden, self.directions,
                _PIXELS, _UNITS, _DEPTH,
            )  # fmt: skip
            last_cells.append(cells.view(pixels, self.directions, self.hidden).transpose(0, 1))
            rows = out
        return None, (None, torch.cat(last_cells))
