// The network of the equations: forward, errors, backpropagation through time, and its sum taken apart.
//
//   s_t = f(U x_t + W s_{t-1} + b), o_t = g(V s_t + c), E = sum over t of E_t(o_t, y_t)
//
// A network is {cell, g, error, sizes: {I, H, V}, parameters: {U, W, b, bh, V, c}, initial: [s_0, ...]}. U, W, b and bh
// have a block of H rows for each gate of the cell. Sequences are arrays of vectors, one a step; steps count from 0.
import { CELLS, addOuter, addTo, logSumExp, matVec, matVecTransposed, norm, sigmoid, softmax } from "./cells.js";

const difference = (o, y) => o.map((x, i) => x - y[i]);
const halfSquare = (a, o, y) => o.reduce((sum, x, i) => sum + 0.5 * (x - y[i]) ** 2, 0);
const logOnePlusExp = (a) => Math.max(a, 0) + Math.log1p(Math.exp(-Math.abs(a)));

// The pairs of g and error that fit each other: o = g(a), E_t from (a, o, y), dE_t/da from (o, y).
export const OUTPUT_LOSSES = {
  "softmax, cross-entropy": {
    output: softmax,
    error(a, o, y) {
      const total = logSumExp(a);
      return a.reduce((sum, x, i) => sum + y[i] * (total - x), 0);
    },
    slope: difference,
  },
  "sigmoid, binary cross-entropy": {
    output: (a) => a.map(sigmoid),
    error: (a, o, y) => a.reduce((sum, x, i) => sum + logOnePlusExp(x) - y[i] * x, 0),
    slope: difference,
  },
  "identity, squared error": { output: (a) => a.slice(), error: halfSquare, slope: difference },
  "sigmoid, squared error": {
    output: (a) => a.map(sigmoid),
    error: halfSquare,
    slope: (o, y) => o.map((x, i) => (x - y[i]) * x * (1 - x)),
  },
  "softmax, squared error": {
    output: softmax,
    error: halfSquare,
    slope(o, y) {
      const d = difference(o, y);
      const mean = o.reduce((sum, x, i) => sum + x * d[i], 0);
      return o.map((x, i) => x * (d[i] - mean));
    },
  },
};

export const outputLoss = (network) => OUTPUT_LOSSES[`${network.g}, ${network.error}`];

export const isPlain = (network) => network.cell.startsWith("rnn_");

// {x, steps: [{past, gx, gh, state, kept, a, o}]}: what the backward pass needs.
export function forward(network, x) {
  const cell = CELLS[network.cell], { U, W, b, bh, V, c } = network.parameters;
  const G = cell.gates.length * network.sizes.H, { output } = outputLoss(network);
  let state = network.initial;
  const steps = x.map((x_t) => {
    const past = state, gx = matVec(U, x_t, G, b), gh = matVec(W, past[0], G, bh);
    const after = cell.step(gx, gh, past);
    state = after.state;
    const a = matVec(V, state[0], network.sizes.V, c);
    return { past, gx, gh, state, kept: after.kept, a, o: output(a) };
  });
  return { x, steps };
}

// E_t of every step.
export function errors(network, tape, y) {
  const { error } = outputLoss(network);
  return Float64Array.from(tape.steps, ({ a, o }, t) => error(a, o, y[t]));
}

export function zeroGradients(network) {
  return Object.fromEntries(Object.entries(network.parameters).map(([name, p]) => [name, new p.constructor(p.length)]));
}

// One step back: from the gradient of the state after step t to those of gx, gh and the state before it.
export function backOneStep(network, step, d_state) {
  const d = CELLS[network.cell].stepBackward(step.kept, d_state);
  const before = d.state.map((part) => part.slice());
  addTo(before[0], matVecTransposed(network.parameters.W, d.gh, network.sizes.H));
  return { gx: d.gx, gh: d.gh, before };
}

const stateOfZeros = (network) => network.initial.map((part) => new part.constructor(part.length));

// The gradient of E: {U, W, b, bh, V, c}, of x and of the initial state, and of the state after each step.
export function backward(network, tape, y) {
  const { slope } = outputLoss(network), gradients = zeroGradients(network), T = tape.steps.length;
  const x = new Array(T), states = new Array(T);
  let d_state = stateOfZeros(network);
  for (let t = T - 1; t >= 0; t--) {
    const step = tape.steps[t], d_a = slope(step.o, y[t]);
    addOuter(gradients.V, d_a, step.state[0]);
    addTo(gradients.c, d_a);
    d_state[0] = addTo(matVecTransposed(network.parameters.V, d_a, network.sizes.H), d_state[0]);
    states[t] = d_state;
    const { gx, gh, before } = backOneStep(network, step, d_state);
    addOuter(gradients.U, gx, tape.x[t]);
    addOuter(gradients.W, gh, step.past[0]);
    addTo(gradients.b, gx);
    if (gradients.bh) addTo(gradients.bh, gh);
    x[t] = matVecTransposed(network.parameters.U, gx, network.sizes.I);
    d_state = before;
  }
  return { parameters: gradients, x, initial: d_state, states };
}

// What step k adds to the gradient of E_t, for every pair k <= t: pairs[t][k] is {gx, gh, state}, so that its part of
// dE_t/dU is gx x_k^T and its part of dE_t/dW is gh s_{k-1}^T (see `contribution`); `state` is dE_t/ds_k.
export function contributions(network, tape, y) {
  const { slope } = outputLoss(network);
  return tape.steps.map((step, t) => {
    let d_state = stateOfZeros(network);
    d_state[0] = matVecTransposed(network.parameters.V, slope(step.o, y[t]), network.sizes.H);
    const row = new Array(t + 1);
    for (let k = t; k >= 0; k--) {
      const { gx, gh, before } = backOneStep(network, tape.steps[k], d_state);
      row[k] = { gx, gh, state: d_state };
      d_state = before;
    }
    return row;
  });
}

// The part of a pair as a matrix, of "U" or "W".
export function contribution(network, tape, pairs, t, k, name) {
  const { gx, gh } = pairs[t][k], factor = name === "U" ? tape.x[k] : tape.steps[k].past[0];
  const d = name === "U" ? gx : gh;
  return addOuter(new d.constructor(d.length * factor.length), d, factor);
}

// The norm of that matrix: it is an outer product, so no matrix is needed.
export function contributionNorm(tape, pairs, t, k, name) {
  const { gx, gh } = pairs[t][k];
  return name === "U" ? norm(gx) * norm(tape.x[k]) : norm(gh) * norm(tape.steps[k].past[0]);
}

// d state_t / d state_{t-1}, of all states of the cell side by side: (S, S), S = H or 2 H.
export function jacobian(network, step) {
  const H = network.sizes.H, S = H * network.initial.length, J = new Float64Array(S * S);
  for (let row = 0; row < S; row++) {
    const unit = stateOfZeros(network);
    unit[Math.floor(row / H)][row % H] = 1;
    const { before } = backOneStep(network, step, unit);
    before.forEach((part, n) => J.set(part, row * S + n * H));
  }
  return J;
}

export const stateNorm = (state) => Math.hypot(...state.map(norm));

// By lag: the median over t of |dE_t/ds_{t-lag}| / |dE_t/ds_t|, which is what `elman diagnose` takes, and the norm of
// all contributions to dE/dW of this lag together.
export function byLag(network, tape, pairs) {
  const T = tape.steps.length, GH = network.parameters.W.length / network.sizes.H;
  const norms = pairs.map((row, t) => stateNorm(row[t].state));
  const left = new Float64Array(T), added = new Float64Array(T);
  for (let lag = 0; lag < T; lag++) {
    const sum = new Float64Array(GH * network.sizes.H), ratios = [];
    for (let t = lag; t < T; t++) {
      const pair = pairs[t][t - lag];
      if (norms[t] > 0) ratios.push(stateNorm(pair.state) / norms[t]);
      addOuter(sum, pair.gh, tape.steps[t - lag].past[0]);
    }
    left[lag] = ratios.sort((a, b) => a - b)[Math.round(0.5 * (ratios.length - 1))] ?? 0;
    added[lag] = norm(sum);
  }
  return { left, added };
}
