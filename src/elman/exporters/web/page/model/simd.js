// The product of a matrix and a vector in WebAssembly, four numbers at a time: a kernel that is assembled here, so that
// there is no other file and nothing to build. Where a browser has no SIMD, `createKernel` gives null.

const I32 = 0x7f, V128 = 0x7b, NOTHING = 0x40;
const get = (local) => [0x20, local], set = (local) => [0x21, local], tee = (local) => [0x22, local];
const constant = (n) => [0x41, n]; // of i32, below 64
const ADD = [0x6a], SUBTRACT = [0x6b], MULTIPLY = [0x6c], SHIFT_LEFT = [0x74], IS_LESS = [0x48], ADD_FLOAT = [0x92];
const LOAD_4 = [0xfd, 0x00, 0x00, 0x00], ADD_4 = [0xfd, 0xe4, 0x01], MULTIPLY_4 = [0xfd, 0xe6, 0x01];
const ZERO_4 = [0xfd, 0x0c, ...new Array(16).fill(0)];
const lane = (n) => [0xfd, 0x1f, n];
const storeFloat = (offset) => [0x38, 0x00, offset];
const loop = (...body) => [0x03, NOTHING, ...body.flat(), 0x0b];
const REPEAT = [0x0d, 0x00];

const section = (id, bytes) => [id, ...size(bytes.length), ...bytes];
const size = (n) => (n < 128 ? [n] : [(n & 127) | 128, n >> 7]);
const name = (text) => [text.length, ...text.split("").map((sign) => sign.charCodeAt(0))];

// (matrix, x, out, rows, cols, stride): out[row] = sum over col of matrix[row][col] x[col]. Matrix, x and out are places in
// bytes, and so is the length of a row, stride; rows and cols are multiples of 4, at least 4.
function program() {
  const [matrix, x, out, rows, cols, stride, row, col, xAt, value, sums] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
  const rowPlace = (n) => [get(matrix), get(stride), constant(n), MULTIPLY, ADD].flat();
  const four = [0, 1, 2, 3];
  const addProduct = (n) => [get(sums + n), get(value), rowPlace(n), LOAD_4, MULTIPLY_4, ADD_4, set(sums + n)].flat();
  const total = (n) => four.flatMap((part) => [...get(sums + n), ...lane(part), ...(part ? ADD_FLOAT : [])]);
  const step = (local, n) => [get(local), constant(n), ADD, set(local)].flat();
  const body = loop(
    four.flatMap((n) => [...ZERO_4, ...set(sums + n)]), get(x), set(xAt), constant(0), set(col),
    loop(
      get(xAt), LOAD_4, set(value), four.flatMap(addProduct), step(matrix, 16), step(xAt, 16),
      get(col), constant(4), ADD, tee(col), get(cols), IS_LESS, REPEAT,
    ),
    four.flatMap((n) => [...get(out), ...total(n), ...storeFloat(4 * n)]), step(out, 16),
    // From the end of the first row's fours to the next four rows.
    get(matrix), get(stride), constant(4), MULTIPLY, ADD, get(cols), constant(2), SHIFT_LEFT, SUBTRACT, set(matrix),
    get(row), constant(4), ADD, tee(row), get(rows), IS_LESS, REPEAT,
  );
  // Parameters are matrix, x, out, rows, cols and stride; the locals are three of i32 and five of v128.
  return [2, 3, I32, 5, V128, ...body, 0x0b];
}

function assembled() {
  const code = program();
  return Uint8Array.from([
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00,
    ...section(1, [1, 0x60, 6, I32, I32, I32, I32, I32, I32, 0]),
    ...section(2, [1, ...name("page"), ...name("memory"), 2, 0, 1]),
    ...section(3, [1, 0]),
    ...section(7, [1, ...name("multiply"), 0, 0]),
    ...section(10, [1, ...size(code.length), ...code]),
  ]);
}

const PAGE = 1 << 16;

// The module; null where there is no SIMD, or where the policy of the page forbids WebAssembly.
function compiled() {
  try {
    return new WebAssembly.Module(assembled());
  } catch {
    return null;
  }
}

// {buffer, multiply}: memory for so many bytes of matrices, and the product with one of them; null where there is no SIMD.
export function createKernel(bytes, longest) {
  const module = compiled();
  if (module === null) return null;
  const begin = Math.ceil(bytes / 16) * 16, end = begin + 8 * (longest + 4);
  const memory = new WebAssembly.Memory({ initial: Math.ceil(end / PAGE) });
  const { multiply } = new WebAssembly.Instance(module, { page: { memory } }).exports;
  const xAt = begin, outAt = begin + 4 * (longest + 4);
  const xs = new Float32Array(memory.buffer, xAt, longest), outs = new Float32Array(memory.buffer, outAt, longest);
  return {
    buffer: memory.buffer,
    // out = M x for the rows and columns in whole fours; what is left of both is added by the caller.
    multiply(M, x, out) {
      const rows = out.length & ~3, cols = x.length & ~3;
      xs.set(x);
      multiply(M.byteOffset, xAt, outAt, rows, cols, 4 * x.length);
      for (let row = 0; row < rows; row++) out[row] = outs[row];
    },
  };
}
