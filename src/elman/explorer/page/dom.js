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

// The colour of a signed number between -limit and limit: blue above zero, orange below, in the colours of the page.
export function shade(x, limit = 1) {
  const opacity = Math.min(1, Math.abs(x) / (limit || 1)) * 0.72;
  return { color: x < 0 ? "var(--negative)" : "var(--positive)", opacity: Number.isFinite(opacity) ? opacity : 0.72 };
}

// A matrix as coloured cells, with its numbers where there is room.
export function heatMatrix(M, rows, cols, label, { cell = 0, digits = 2, limit } = {}) {
  const most = limit ?? M.reduce((top, x) => Math.max(top, Math.abs(x)), 0);
  const numbers = cols <= 6 && rows <= 12;
  const width = cell || (numbers ? 46 : Math.max(3, Math.min(14, 180 / cols))), height = numbers && !cell ? 21 : width;
  const cells = Array.from(M, (x, at) => {
    const { color, opacity } = shade(x, most), row = Math.floor(at / cols), col = at % cols;
    const rect = svg("rect", {
      x: col * width, y: row * height, width: width - 1, height: height - 1, rx: 2, fill: color, "fill-opacity": opacity,
    });
    if (!numbers || cell) return rect;
    const place = { x: (col + 0.5) * width, y: (row + 0.5) * height + 4, "text-anchor": "middle" };
    return [rect, svg("text", place, number(x, digits))];
  });
  const size = { width: cols * width, height: rows * height, viewBox: `0 0 ${cols * width} ${rows * height}` };
  const back = svg("rect", { x: 0, y: 0, width: cols * width - 1, height: rows * height - 1, class: "matrix-back" });
  return svg("svg", { class: "matrix", role: "img", "aria-label": label, ...size }, back, cells);
}
