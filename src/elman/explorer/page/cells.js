// The recurrent cells: one step of each, forward and backward, and the small algebra that they need.
//
// Pure functions on Float64Array or Float32Array; a result has the type of the first argument. No document, no state.
// The equations, the order of the gates and the names are those of elman.reference and of torch.nn:
//
//   gx = U x_t + b_ih, gh = W h_{t-1} + b_hh: G blocks of H numbers, one for each gate, in the order of `gates`
//   {state, kept} = CELLS.lstm.step(gx, gh, [h, c])
//
// A matrix is a flat array in row order: entry (row, column) of an (R, C) matrix is M[row * C + column].

export const sigmoid = (a) => 0.5 * (1 + Math.tanh(0.5 * a));

// f of one number, and its slope as a function of s = f(a); at a = 0 relu has the slope 0.
export const ACTIVATIONS = {
  tanh: { value: Math.tanh, slope: (s) => 1 - s * s, steepest: 1 },
  relu: { value: (a) => (a > 0 ? a : 0), slope: (s) => (s > 0 ? 1 : 0), steepest: 1 },
  sigmoid: { value: sigmoid, slope: (s) => s * (1 - s), steepest: 0.25 },
  identity: { value: (a) => a, slope: () => 1, steepest: 1 },
};

// M x (+ bias): (rows, cols) times (cols,).
export function matVec(M, x, rows, bias) {
  const cols = x.length, out = new M.constructor(rows);
  for (let row = 0, at = 0; row < rows; row++) {
    let sum = bias ? bias[row] : 0;
    for (let col = 0; col < cols; col++) sum += M[at++] * x[col];
    out[row] = sum;
  }
  return out;
}

// M^T y: the way back through `matVec`.
export function matVecTransposed(M, y, cols) {
  const rows = y.length, out = new M.constructor(cols);
  for (let row = 0, at = 0; row < rows; row++) {
    const factor = y[row];
    for (let col = 0; col < cols; col++) out[col] += factor * M[at++];
  }
  return out;
}

// out += y x^T.
export function addOuter(out, y, x) {
  const rows = y.length, cols = x.length;
  for (let row = 0, at = 0; row < rows; row++) {
    const factor = y[row];
    for (let col = 0; col < cols; col++) out[at++] += factor * x[col];
  }
  return out;
}

export function addTo(out, x) {
  for (let i = 0; i < out.length; i++) out[i] += x[i];
  return out;
}

export function norm(x) {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i] * x[i];
  return Math.sqrt(sum);
}

export function softmax(a) {
  const top = a.reduce((x, y) => Math.max(x, y), -Infinity);
  const e = a.map((x) => Math.exp(x - top));
  const sum = e.reduce((x, y) => x + y, 0);
  return e.map((x) => x / sum);
}

// log sum e^a, without overflow.
export function logSumExp(a) {
  const top = a.reduce((x, y) => Math.max(x, y), -Infinity);
  return top + Math.log(a.reduce((sum, x) => sum + Math.exp(x - top), 0));
}

// h_t = f(gx + gh). One gate, one state.
function plainCell(name) {
  const { value, slope } = ACTIVATIONS[name];
  return {
    gates: ["h"],
    states: ["h"],
    step(gx, gh, [past]) {
      const h = new gx.constructor(gx.length);
      for (let i = 0; i < h.length; i++) h[i] = value(gx[i] + gh[i]);
      return { state: [h], kept: { past, h } };
    },
    // Gradients of gx and gh, and of the old state where it does not pass through gh.
    stepBackward({ h }, [d_h]) {
      const d_a = new h.constructor(h.length);
      for (let i = 0; i < h.length; i++) d_a[i] = d_h[i] * slope(h[i]);
      return { gx: d_a, gh: d_a, state: [new h.constructor(h.length)] };
    },
  };
}

// r: reset, z: update (at 1 the state stays as it was), n: candidate.
//   r = sigmoid(gx_r + gh_r), z = sigmoid(gx_z + gh_z), n = tanh(gx_n + r gh_n), h_t = (1 - z) n + z h_{t-1}
const gru = {
  gates: ["r", "z", "n"],
  states: ["h"],
  step(gx, gh, [past]) {
    const H = past.length, zeros = () => new gx.constructor(H);
    const r = zeros(), z = zeros(), n = zeros(), h = zeros();
    for (let i = 0; i < H; i++) {
      r[i] = sigmoid(gx[i] + gh[i]);
      z[i] = sigmoid(gx[H + i] + gh[H + i]);
      n[i] = Math.tanh(gx[2 * H + i] + r[i] * gh[2 * H + i]);
      h[i] = (1 - z[i]) * n[i] + z[i] * past[i];
    }
    return { state: [h], kept: { past, gh_n: gh.slice(2 * H), r, z, n } };
  },
  stepBackward({ past, gh_n, r, z, n }, [d_h]) {
    const H = past.length, zeros = (size) => new past.constructor(size);
    const gx = zeros(3 * H), gh = zeros(3 * H), d_past = zeros(H);
    for (let i = 0; i < H; i++) {
      const d_a_n = d_h[i] * (1 - z[i]) * (1 - n[i] * n[i]);
      const d_a_r = d_a_n * gh_n[i] * r[i] * (1 - r[i]);
      const d_a_z = d_h[i] * (past[i] - n[i]) * z[i] * (1 - z[i]);
      gx[i] = gh[i] = d_a_r;
      gx[H + i] = gh[H + i] = d_a_z;
      gx[2 * H + i] = d_a_n;
      gh[2 * H + i] = d_a_n * r[i];
      d_past[i] = d_h[i] * z[i];
    }
    return { gx, gh, state: [d_past] };
  },
};

// i: input, f: forget, g: candidate, o: output; c is the memory.
//   c_t = f c_{t-1} + i g, h_t = o tanh(c_t)
const lstm = {
  gates: ["i", "f", "g", "o"],
  states: ["h", "c"],
  step(gx, gh, [, past_c]) {
    const H = past_c.length, zeros = () => new gx.constructor(H);
    const i = zeros(), f = zeros(), g = zeros(), o = zeros(), c = zeros(), h = zeros(), tanh_c = zeros();
    for (let u = 0; u < H; u++) {
      i[u] = sigmoid(gx[u] + gh[u]);
      f[u] = sigmoid(gx[H + u] + gh[H + u]);
      g[u] = Math.tanh(gx[2 * H + u] + gh[2 * H + u]);
      o[u] = sigmoid(gx[3 * H + u] + gh[3 * H + u]);
      c[u] = f[u] * past_c[u] + i[u] * g[u];
      tanh_c[u] = Math.tanh(c[u]);
      h[u] = o[u] * tanh_c[u];
    }
    return { state: [h, c], kept: { past_c, i, f, g, o, tanh_c } };
  },
  stepBackward({ past_c, i, f, g, o, tanh_c }, [d_h, d_c]) {
    const H = past_c.length, d_a = new past_c.constructor(4 * H), d_past_c = new past_c.constructor(H);
    for (let u = 0; u < H; u++) {
      const d_memory = d_c[u] + d_h[u] * o[u] * (1 - tanh_c[u] * tanh_c[u]);
      d_a[u] = d_memory * g[u] * i[u] * (1 - i[u]);
      d_a[H + u] = d_memory * past_c[u] * f[u] * (1 - f[u]);
      d_a[2 * H + u] = d_memory * i[u] * (1 - g[u] * g[u]);
      d_a[3 * H + u] = d_h[u] * tanh_c[u] * o[u] * (1 - o[u]);
      d_past_c[u] = d_memory * f[u];
    }
    return { gx: d_a, gh: d_a, state: [new past_c.constructor(H), d_past_c] };
  },
};

// By the names that elman's layers give their kernels.
export const CELLS = {
  rnn_tanh: plainCell("tanh"),
  rnn_relu: plainCell("relu"),
  rnn_sigmoid: plainCell("sigmoid"),
  rnn_identity: plainCell("identity"),
  gru,
  lstm,
};
