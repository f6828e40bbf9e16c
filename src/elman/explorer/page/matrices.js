// Square matrices of the state: spectral radius, largest singular value, initialisations, and the random numbers.
import { matVec, matVecTransposed, norm } from "./cells.js";

export function multiply(A, B, n) {
  const C = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < n; k++) {
      const factor = A[i * n + k];
      if (factor !== 0) for (let j = 0; j < n; j++) C[i * n + j] += factor * B[k * n + j];
    }
  }
  return C;
}

const SQUARINGS = 26;

// |A^m|^(1/m) for m = 2^26 (Gelfand): eigenvalues that come in pairs do no harm, as they would to a power iteration.
export function spectralRadius(A, n) {
  let power = Float64Array.from(A), log = 0, exponent = 1;
  for (let round = 0; round < SQUARINGS; round++) {
    const size = norm(power);
    if (!(size > 0)) return 0;
    log += Math.log(size) / exponent;
    power = power.map((x) => x / size);
    power = multiply(power, power, n);
    exponent *= 2;
  }
  const size = norm(power);
  return size > 0 ? Math.exp(log + Math.log(size) / exponent) : 0;
}

// The largest factor by which A can stretch a vector, sigma_max: the root of the largest eigenvalue of A^T A.
export function largestSingularValue(A, n) {
  const square = new Float64Array(n * n);
  for (let k = 0; k < n; k++) {
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) square[i * n + j] += A[k * n + i] * A[k * n + j];
  }
  return Math.sqrt(spectralRadius(square, n));
}

// The same by power iteration on A^T A: quick, and right to the digits of a label.
export function stretchOf(A, n) {
  let x = Float64Array.from({ length: n }, (_, i) => 1 + (i % 3) * 0.3 - (i % 2) * 0.7), size = 0;
  for (let round = 0; round < 40; round++) {
    const back = matVecTransposed(A, matVec(A, x, n), n), length = norm(back);
    if (!(length > 0)) return norm(A) > 0 && round === 0 ? largestSingularValue(A, n) : Math.sqrt(size);
    size = length / norm(x);
    x = back.map((v) => v / length);
  }
  return Math.sqrt(size);
}

// A generator of uniform numbers in [0, 1) (mulberry32); the same seed gives the same numbers.
export function uniformGenerator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), 1 | state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296;
  };
}

export function normalNumbers(count, scale, random) {
  return Float64Array.from({ length: count }, () => {
    return scale * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  });
}

export function identityMatrix(n, factor = 1) {
  return Float64Array.from({ length: n * n }, (_, at) => (at % (n + 1) === 0 ? factor : 0));
}

// A random orthogonal matrix: Gram and Schmidt on the rows of a normal one, each row made orthogonal twice.
export function orthogonalMatrix(n, random) {
  const Q = normalNumbers(n * n, 1, random);
  for (let i = 0; i < n; i++) {
    const row = Q.subarray(i * n, i * n + n);
    for (let pass = 0; pass < 2; pass++) {
      for (let j = 0; j < i; j++) {
        const other = Q.subarray(j * n, j * n + n);
        const along = row.reduce((sum, x, k) => sum + x * other[k], 0);
        row.forEach((x, k) => (row[k] = x - along * other[k]));
      }
    }
    const size = norm(row);
    row.forEach((x, k) => (row[k] = x / size));
  }
  return Q;
}
