"""Named members of the LSTM family: `longlag.cells.lstm.LSTM` with other defaults. Every switch can still be set."""

from __future__ import annotations

from typing import Literal

from longlag.cells.initialise import Init
from longlag.cells.lstm import LSTM, Bias, LSTMOptions, Squashing


class LSTM1997Options(LSTMOptions):
    forget_gate: Literal["own", "coupled", "none"] = "none"
    input_activation: Squashing = "logistic2"
    output_activation: Squashing = "logistic1"
    bound: float | None = 0.1
    forget_bias: Bias | None = None


class LSTM1997(LSTM[LSTM1997Options]):
    """The original LSTM: Hochreiter and Schmidhuber (1997), Neural Computation 9(8).

    i_t = sigmoid(W_i x_t + U_i h_{t-1} + b_i)      input gate
    z_t = g(W_z x_t + U_z h_{t-1} + b_z)            block input, g(a) = 4 sigmoid(a) - 2
    o_t = sigmoid(W_o x_t + U_o h_{t-1} + b_o)      output gate
    c_t = c_{t-1} + i_t * z_t                       the constant error carousel
    h_t = o_t * h(c_t),                             h(a) = 2 sigmoid(a) - 1

    Shapes: each W ``[H, I]``, U ``[H, H]``, b ``[H]``, packed in the order i, z, o; 3 H (I + H + 1) parameters.

    Differs from `LSTM` in having no forget gate: nothing ever leaves the cell, dc_t/dc_{t-1} = 1. Initialisation:
    everything U(-0.1, 0.1) as in experiments 3 to 6 (0.2 in 1 and 2); the gate biases of the single experiments, such
    as ``input_bias=[-3, -6]`` in the adding problem, are options. The paper's networks also join S cells into blocks
    that share gates (``block_size``), let all gates and cells read all gates (``gate_recurrence="all"``), and train
    with a truncated gradient (``truncated``): with these, its weight counts (93, 156, 308) come out. They are off here.
    (The legend of the paper's Table 10 swaps the ranges of g and h; this follows the text.)
    """


class VanillaOptions(LSTMOptions):
    peepholes: bool = True
    init: Init = "normal"
    forget_bias: Bias | None = None


class PeepholeLSTM(LSTM[VanillaOptions]):
    """LSTM with forget gates and peepholes: Gers and Schmidhuber (2000); the "vanilla" of Greff et al. (2015).

    i_t = sigmoid(W_i x_t + U_i h_{t-1} + p_i * c_{t-1} + b_i)
    f_t = sigmoid(W_f x_t + U_f h_{t-1} + p_f * c_{t-1} + b_f)
    z_t = tanh(W_z x_t + U_z h_{t-1} + b_z)
    c_t = f_t * c_{t-1} + i_t * z_t
    o_t = sigmoid(W_o x_t + U_o h_{t-1} + p_o * c_t + b_o)
    h_t = o_t * tanh(c_t)

    Shapes: as `LSTM`, and p ``[H]``; 4 H (I + H + 1) + 3 H parameters.

    Differs from `LSTM` in the peepholes, from ``lstm-np`` in nothing else. Initialisation: weights and peepholes
    N(0, 0.1^2), biases zero, as recalled of Greff et al. (not verified); so for all of their variants below, which each
    differ from this one in one thing. Gers et al. (2002) draw U(-0.1, 0.1) and set gate biases block by block:
    ``init=uniform``, ``bound=0.1``, ``forget_bias``, ``input_bias``, ``output_bias``.
    """


class NoInputGateOptions(VanillaOptions):
    input_gate: bool = False


class NoInputGate(LSTM[NoInputGateOptions]):
    """NIG of Greff et al. (2015): `PeepholeLSTM` with i_t = 1. 3 H (I + H + 1) + 2 H parameters."""


class NoForgetGateOptions(VanillaOptions):
    forget_gate: Literal["own", "coupled", "none"] = "none"


class NoForgetGate(LSTM[NoForgetGateOptions]):
    """NFG of Greff et al. (2015): `PeepholeLSTM` with f_t = 1. 3 H (I + H + 1) + 2 H parameters.

    Differs from `LSTM1997` in its tanh activations, its peepholes and its initialisation.
    """


class NoOutputGateOptions(VanillaOptions):
    output_gate: bool = False


class NoOutputGate(LSTM[NoOutputGateOptions]):
    """NOG of Greff et al. (2015): `PeepholeLSTM` with o_t = 1. 3 H (I + H + 1) + 2 H parameters."""


class NoInputActivationOptions(VanillaOptions):
    input_activation: Squashing = "linear"


class NoInputActivation(LSTM[NoInputActivationOptions]):
    """NIAF of Greff et al. (2015): `PeepholeLSTM` with z_t = W_z x_t + U_z h_{t-1} + b_z. 4 H (I + H + 1) + 3 H."""


class NoOutputActivationOptions(VanillaOptions):
    output_activation: Squashing = "linear"


class NoOutputActivation(LSTM[NoOutputActivationOptions]):
    """NOAF of Greff et al. (2015): `PeepholeLSTM` with h_t = o_t * c_t. 4 H (I + H + 1) + 3 H parameters."""


class NoPeepholesOptions(VanillaOptions):
    peepholes: bool = False


class NoPeepholes(LSTM[NoPeepholesOptions]):
    """NP of Greff et al. (2015): `PeepholeLSTM` without peepholes. 4 H (I + H + 1) parameters.

    The equations of `LSTM`; only the initialisation differs (no forget bias).
    """


class CoupledGatesOptions(VanillaOptions):
    forget_gate: Literal["own", "coupled", "none"] = "coupled"


class CoupledGates(LSTM[CoupledGatesOptions]):
    """CIFG of Greff et al. (2015): `PeepholeLSTM` with f_t = 1 - i_t. 3 H (I + H + 1) + 2 H parameters.

    Like `GRU`, it interpolates between old and new; with chrono_max only b_i = -log u is drawn.
    """


class FullGateRecurrenceOptions(VanillaOptions):
    gate_recurrence: Literal["none", "gates", "all"] = "gates"


class FullGateRecurrence(LSTM[FullGateRecurrenceOptions]):
    """FGR of Greff et al. (2015): `PeepholeLSTM` whose gates read all gates of the step before, as in 1997.

    i_t = sigmoid(W_i x_t + U_i h_{t-1} + R_ii i_{t-1} + R_if f_{t-1} + R_io o_{t-1} + p_i * c_{t-1} + b_i)

    and likewise f_t and o_t: nine additional matrices ``[H, H]``. The gates are states (i, f, o), initially 0.
    4 H (I + H + 1) + 3 H + 9 H H parameters.
    """
