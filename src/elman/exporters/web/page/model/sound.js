// Sound: WAV files, resampling, and the log-mel features of a stream.

// A Fourier transform of complex numbers in place; the length is a power of two.
export class Transform {
  constructor(size) {
    this.size = size;
    this.cos = Float64Array.from({ length: size / 2 }, (_, k) => Math.cos((2 * Math.PI * k) / size));
    this.sin = Float64Array.from({ length: size / 2 }, (_, k) => Math.sin((2 * Math.PI * k) / size));
    this.order = new Uint32Array(size);
    for (let i = 0; i < size; i++) this.order[i] = (this.order[i >> 1] >> 1) | (i & 1 ? size >> 1 : 0);
  }

  run(re, im) {
    const { size, cos, sin, order } = this;
    for (let i = 0; i < size; i++) {
      const j = order[i];
      if (j > i) {
        [re[i], re[j]] = [re[j], re[i]];
        [im[i], im[j]] = [im[j], im[i]];
      }
    }
    for (let half = 1; half < size; half *= 2) {
      const stride = size / (2 * half);
      for (let begin = 0; begin < size; begin += 2 * half) {
        for (let k = 0; k < half; k++) {
          const c = cos[k * stride], s = sin[k * stride], a = begin + k, b = a + half;
          const x = re[b] * c + im[b] * s, y = im[b] * c - re[b] * s;
          re[b] = re[a] - x;
          im[b] = im[a] - y;
          re[a] += x;
          im[a] += y;
        }
      }
    }
  }
}

const FLOOR = 1e-10;
const mel = (f) => 2595 * Math.log10(1 + f / 700);
const hertz = (m) => 700 * (10 ** (m / 2595) - 1);

// The log energies of mel bands. Frame t covers the samples from t * hop on, `width` of them.
export class LogMel {
  constructor({ rate, bands, width, hop, bins, low, high }) {
    Object.assign(this, { width, hop, bands, bins });
    this.transform = new Transform(bins);
    const hann = Float64Array.from({ length: width }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / width));
    const size = Math.sqrt(hann.reduce((sum, w) => sum + w * w, 0));
    this.weights = hann.map((w) => w / size);
    const edges = Array.from({ length: bands + 2 }, (_, k) => hertz(mel(low) + ((mel(high) - mel(low)) * k) / (bands + 1)));
    this.filters = Array.from({ length: bands }, (_, band) => {
      const [begin, top, end] = edges.slice(band, band + 3), filter = [];
      for (let k = 0; k <= bins / 2; k++) {
        const f = (k * rate) / bins, weight = Math.min((f - begin) / (top - begin), (end - f) / (end - top));
        if (weight > 0) filter.push([k, weight]);
      }
      return filter;
    });
  }

  frame(samples, at) {
    const re = new Float64Array(this.bins), im = new Float64Array(this.bins);
    for (let n = 0; n < this.width; n++) re[n] = samples[at + n] * this.weights[n];
    this.transform.run(re, im);
    return Float32Array.from(this.filters, (filter) => {
      let energy = 0;
      for (const [k, weight] of filter) energy += weight * (re[k] * re[k] + im[k] * im[k]);
      return Math.log(Math.max(energy, FLOOR));
    });
  }
}

// The frames of a stream: `push` returns those that are complete.
export class FrameStream {
  constructor(features) {
    this.features = features;
    this.rest = new Float32Array(0);
  }

  push(samples) {
    const { width, hop } = this.features, all = new Float32Array(this.rest.length + samples.length), frames = [];
    all.set(this.rest);
    all.set(samples, this.rest.length);
    let at = 0;
    for (; at + width <= all.length; at += hop) frames.push(this.features.frame(all, at));
    this.rest = all.slice(at);
    return frames;
  }
}

// A polyphase filter with a Kaiser window, as scipy.signal.resample_poly, for a stream.
export class Resampler {
  constructor(before, after) {
    const divisor = ((a, b) => { while (b) [a, b] = [b, a % b]; return a; })(before, after);
    this.up = after / divisor;
    this.down = before / divisor;
    const largest = Math.max(this.up, this.down);
    this.half = 10 * largest;
    this.filter = new Float64Array(2 * this.half + 1);
    let sum = 0;
    for (let n = -this.half; n <= this.half; n++) {
      const x = (Math.PI * n) / largest, window = bessel(5 * Math.sqrt(Math.max(0, 1 - (n / this.half) ** 2)));
      sum += this.filter[n + this.half] = (x === 0 ? 1 : Math.sin(x) / x) * window;
    }
    for (let n = 0; n < this.filter.length; n++) this.filter[n] *= this.up / sum;
    this.input = new Float32Array(0);
    this.origin = 0; // the number of the first sample in `input`
    this.next = 0; // the number of the next output
  }

  push(samples) {
    if (this.up === this.down) return samples;
    const joined = new Float32Array(this.input.length + samples.length);
    joined.set(this.input);
    joined.set(samples, this.input.length);
    this.input = joined;
    const end = this.origin + joined.length, out = [];
    while (Math.floor((this.next * this.down + this.half) / this.up) < end) out.push(this.output(this.next++));
    const first = Math.max(0, Math.ceil((this.next * this.down - this.half) / this.up) - this.origin);
    this.input = joined.slice(Math.min(first, joined.length));
    this.origin += Math.min(first, joined.length);
    return Float32Array.from(out);
  }

  // What is left at the end: beyond it there are zeros.
  finish() {
    if (this.up === this.down) return new Float32Array(0);
    const out = [], end = this.origin + this.input.length, count = Math.ceil((end * this.up) / this.down);
    while (this.next < count) out.push(this.output(this.next++));
    return Float32Array.from(out);
  }

  output(m) {
    const { up, down, half, filter, input, origin } = this;
    const first = Math.max(origin, Math.ceil((m * down - half) / up));
    const last = Math.min(origin + input.length - 1, Math.floor((m * down + half) / up));
    let sum = 0;
    for (let k = first; k <= last; k++) sum += input[k - origin] * filter[half + m * down - k * up];
    return sum;
  }
}

// The modified Bessel function I0.
function bessel(x) {
  let sum = 1, term = 1;
  for (let k = 1; term > 1e-17 * sum; k++) sum += term *= (x / (2 * k)) ** 2;
  return sum;
}

export function resampled(samples, before, after) {
  const resampler = new Resampler(before, after), head = resampler.push(samples), tail = resampler.finish();
  const out = new Float32Array(head.length + tail.length);
  out.set(head);
  out.set(tail, head.length);
  return out;
}

// {samples, rate} of a WAV file, its channels averaged; null where it is another format.
export function readWav(buffer) {
  const view = new DataView(buffer), name = (at) => String.fromCharCode(...new Uint8Array(buffer, at, 4));
  if (buffer.byteLength < 12 || name(0) !== "RIFF" || name(8) !== "WAVE") return null;
  let format = null;
  for (let at = 12; at + 8 <= buffer.byteLength; ) {
    const size = view.getUint32(at + 4, true), begin = at + 8;
    if (name(at) === "fmt " && size >= 16) {
      const code = view.getUint16(begin, true);
      format = {
        code: code === 0xfffe && size >= 26 ? view.getUint16(begin + 24, true) : code,
        channels: view.getUint16(begin + 2, true),
        rate: view.getUint32(begin + 4, true),
        bits: view.getUint16(begin + 14, true),
      };
    }
    if (name(at) === "data" && format) {
      return samplesOf(view, format, begin, Math.min(size, buffer.byteLength - begin));
    }
    at = begin + size + (size % 2);
  }
  return null;
}

const READERS = {
  "1 8": (view, at) => (view.getUint8(at) - 128) / 128,
  "1 16": (view, at) => view.getInt16(at, true) / 32768,
  "1 24": (view, at) => (view.getUint16(at, true) | (view.getInt8(at + 2) << 16)) / 8388608,
  "1 32": (view, at) => view.getInt32(at, true) / 2147483648,
  "3 32": (view, at) => view.getFloat32(at, true),
  "3 64": (view, at) => view.getFloat64(at, true),
};

function samplesOf(view, { code, channels, rate, bits }, begin, size) {
  const read = READERS[`${code} ${bits}`], bytes = bits / 8;
  if (!read || !channels || !rate) return null;
  const samples = new Float32Array(Math.floor(size / (bytes * channels)));
  for (let n = 0; n < samples.length; n++) {
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += read(view, begin + (n * channels + c) * bytes);
    samples[n] = sum / channels;
  }
  return { samples, rate };
}
