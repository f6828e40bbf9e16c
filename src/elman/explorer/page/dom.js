// Elements and numbers. Every text becomes a text node, so that no data of a run is read as HTML.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const element = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
export const svg = (tag, attributes = {}, ...children) => {
  return fill(document.createElementNS(SVG, tag), attributes, children);
};

export const sub = (name, index) => [name, element("sub", {}, index)];

// A number in few characters, with a true minus sign.
export function number(x, digits = 3) {
  if (Number.isNaN(x)) return "–";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
  const size = Math.abs(x);
  if (size === 0) return "0";
  const text = size >= 10 ** 5 || size < 0.5 * 10 ** -digits ? x.toExponential(1) : x.toFixed(size >= 100 ? 1 : digits);
  return text.replace("e+", "e").replaceAll("-", "−");
}

// The same without an exponent, where little room is and zeros tell enough.
export function fixed(x, digits) {
  if (Number.isInteger(x) && Math.abs(x) < 1000) return String(x).replace("-", "−");
  return Math.abs(x) < 1 && Number.isFinite(x) ? x.toFixed(digits).replace(/^-(0\.?0*)$/, "$1").replace("-", "−") : number(x, Math.min(digits, 2));
}

// A label over its control.
export const field = (label, control, ...more) => element("label", { class: "field" }, element("span", {}, label), control, ...more);

export function select(options, value, onchange, label) {
  const entries = options.map((option) => (Array.isArray(option) ? option : [option, option]));
  return element(
    "select", { "aria-label": label, onchange: (event) => onchange(event.target.value) },
    entries.map(([key, text]) => element("option", { value: key, selected: key === value }, text)),
  );
}

export const button = (text, onclick, attributes = {}) => element("button", { type: "button", onclick, ...attributes }, text);

export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

// The colours of the page, as [red, green, blue], until the theme changes.
const palette = new Map();
export function rgb(name) {
  if (!palette.has(name)) {
    const hex = getComputedStyle(document.documentElement).getPropertyValue(name).trim().slice(1);
    palette.set(name, [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  }
  return palette.get(name);
}
export const forgetColors = () => palette.clear();

export const paint = (name, opacity = 1) => `rgb(${rgb(name).join(" ")} / ${opacity.toFixed(3)})`;

// The colour of a signed number between -limit and limit: blue above zero, orange below.
export function shade(x, limit = 1) {
  const opacity = Math.min(1, Math.abs(x) / (limit || 1)) * 0.72;
  return paint(x < 0 ? "--negative" : "--positive", Number.isFinite(opacity) ? opacity : 0.72);
}

// A matrix as coloured cells, with its numbers where there is room.
export function heatMatrix(M, rows, cols, label, { cell = 0, digits = 2, limit } = {}) {
  const most = limit ?? M.reduce((top, x) => Math.max(top, Math.abs(x)), 0);
  const numbers = cols <= 6 && rows <= 12;
  const width = cell || (numbers ? 46 : Math.max(3, Math.min(14, 180 / cols))), height = numbers && !cell ? 21 : width;
  if (!numbers || cell) return heatCanvas(M, cols, label, width, most);
  const cells = Array.from(M, (x, at) => {
    const row = Math.floor(at / cols), col = at % cols;
    const rect = svg("rect", {
      x: col * width, y: row * height, width: width - 1, height: height - 1, rx: 2, fill: shade(x, most),
    });
    const place = { x: (col + 0.5) * width, y: (row + 0.5) * height + 4, "text-anchor": "middle" };
    return [rect, svg("text", place, number(x, digits))];
  });
  const size = { width: cols * width, height: rows * height, viewBox: `0 0 ${cols * width} ${rows * height}` };
  const back = svg("rect", { x: 0, y: 0, width: cols * width - 1, height: rows * height - 1, class: "matrix-back" });
  return svg("svg", { class: "matrix", role: "img", "aria-label": label, ...size }, back, cells);
}

// Numbers as pixels, one each; `most` is the largest.
export function heatPixels(M, rows, cols, most, at = (row, col) => row * cols + col) {
  const image = new ImageData(cols, rows), [up, down, none] = [rgb("--positive"), rgb("--negative"), rgb("--cell")];
  for (let row = 0, pixel = 0; row < rows; row++) {
    for (let col = 0; col < cols; col++, pixel += 4) {
      const v = M[at(row, col)] / (most || 1), full = v < 0 ? down : up, share = Math.min(1, Math.abs(v)) * 0.85;
      for (let c = 0; c < 3; c++) image.data[pixel + c] = none[c] + share * (full[c] - none[c]);
      image.data[pixel + 3] = 255;
    }
  }
  return image;
}

function heatCanvas(M, cols, label, size, most) {
  const rows = M.length / cols, style = `width: ${cols * size}px; height: ${rows * size}px`;
  const canvas = element("canvas", { class: "matrix matrix-pixels", role: "img", "aria-label": label, width: cols, height: rows, style });
  canvas.getContext("2d").putImageData(heatPixels(M, rows, cols, most), 0, 0);
  return canvas;
}

// The width of an element, measured when it changes and not when it is asked for, which would cost a layout.
export function widthOf(node, fallback) {
  let width = 0;
  new ResizeObserver(() => (width = node.clientWidth)).observe(node);
  return () => width || (width = node.clientWidth) || fallback;
}

// A short notice at the foot of the page, with one thing to do.
export function createNotice(host) {
  const hide = () => { host.hidden = true; };
  return {
    offer(text, title, action) {
      host.replaceChildren(element("span", {}, text), button(title, () => { hide(); action(); }), button("×", hide, { "aria-label": "close" }));
      host.hidden = false;
    },
  };
}
