// Products of a matrix and a vector, and the small functions that the networks need. Matrices are flat, in row order.
import { createKernel } from "./simd.js";

// The kernels of `simd.js`, by the memory in which their matrices are.
const kernels = new WeakMap();

// Memory for so many bytes of matrices with at most `longest` rows or columns, which `affine` knows to be quick.
export function matrixMemory(bytes, longest) {
  const kernel = createKernel(bytes, longest);
  if (kernel === null) return new ArrayBuffer(bytes);
  kernels.set(kernel.buffer, kernel);
  return kernel.buffer;
}

// out = M x + bias, or M x where the bias is null.
export function affine(M, x, bias, out) {
  const kernel = kernels.get(M.buffer);
  if (kernel && out.length >= 4 && x.length >= 4) {
    kernel.multiply(M, x, out);
    const rows = out.length, cols = x.length, tail = cols & ~3;
    if (tail < cols) {
      for (let row = 0; row < (rows & ~3); row++) for (let col = tail; col < cols; col++) out[row] += M[row * cols + col] * x[col];
    }
    products(M, x, out, rows & ~3);
  } else products(M, x, out, 0);
  if (bias) for (let row = 0; row < out.length; row++) out[row] += bias[row];
  return out;
}

// The products of the rows from `row` on. Four at a time, so that each number of x is loaded once for four independent
// sums, which is what keeps the arithmetic units busy.
function products(M, x, out, row) {
  const rows = out.length, cols = x.length;
  let at = row * cols;
  for (; row + 4 <= rows; row += 4, at += 4 * cols) {
    let a = 0, b = 0, c = 0, d = 0;
    const second = at + cols, third = second + cols, fourth = third + cols;
    for (let col = 0; col < cols; col++) {
      const value = x[col];
      a += M[at + col] * value;
      b += M[second + col] * value;
      c += M[third + col] * value;
      d += M[fourth + col] * value;
    }
    out[row] = a;
    out[row + 1] = b;
    out[row + 2] = c;
    out[row + 3] = d;
  }
  for (; row < rows; row++, at += cols) {
    let sum = 0;
    for (let col = 0; col < cols; col++) sum += M[at + col] * x[col];
    out[row] = sum;
  }
}

// A linear layer of torch: weight (rows, cols), bias (rows) or none.
export class Linear {
  constructor(weight, bias = null) {
    this.weight = weight.data;
    this.bias = bias && bias.data;
    [this.rows] = weight.shape;
  }

  apply(x) {
    return affine(this.weight, x, this.bias, new Float32Array(this.rows));
  }
}

export const sigmoid = (a) => 0.5 * (1 + Math.tanh(0.5 * a));

// log(1 + e^a); torch takes a itself where it is above 20.
export const softplus = (a) => (a > 20 ? a : Math.log1p(Math.exp(a)));

export const relu = (x) => x.map((a) => (a > 0 ? a : 0));

export function maximum(x) {
  let top = -Infinity;
  for (let i = 0; i < x.length; i++) if (x[i] > top) top = x[i];
  return top;
}

// The place of the largest number, the first of several.
export function argmax(x) {
  let best = 0;
  for (let i = 1; i < x.length; i++) if (x[i] > x[best]) best = i;
  return best;
}

// The places of the largest numbers, the largest first, of equal ones the first.
export function largest(x, count) {
  const places = [];
  for (let i = 0; i < x.length; i++) {
    if (places.length === count && !(x[i] > x[places[count - 1]])) continue;
    let at = places.length;
    while (at > 0 && x[i] > x[places[at - 1]]) at--;
    places.splice(at, 0, i);
    if (places.length > count) places.pop();
  }
  return places;
}

// log sum e^a, without overflow.
export function logSumExp(x) {
  const top = maximum(x);
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += Math.exp(x[i] - top);
  return top + Math.log(sum);
}

// Probabilities in float64 of scores divided by a temperature.
export function softmax(scores, temperature = 1) {
  const top = maximum(scores), p = new Float64Array(scores.length);
  let sum = 0;
  for (let i = 0; i < p.length; i++) sum += p[i] = Math.exp((scores[i] - top) / temperature);
  for (let i = 0; i < p.length; i++) p[i] /= sum;
  return p;
}

export function concatenate(...parts) {
  const out = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
