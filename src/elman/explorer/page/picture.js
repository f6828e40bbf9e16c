// The network unrolled in time: one column a step, from the input x_t at the bottom to the error E_t at the top.
import { CELLS } from "./cells.js";
import { stateNorm } from "./network.js";
import { fixed, number, paint, shade, svg, widthOf } from "./dom.js";

const TOP = 30, GAP = 33, MARGIN = 34; // the names of the rows stand in the margin
const LABELS_MS = 150;
const LEVELS = [[92, 3], [44, 2]]; // from this width of a column on, so many digits
const TIGHT = 37; // a narrower unit leaves out the zero before the point
const READABLE = [50, 72], MOST_READABLE = 24; // the least column, without and with gates, of so many steps

// Height of a unit, width of a column and digits of a number, for the room that there is.
// `dense`: inputs and outputs as colours alone, for the way back, which is about the states.
function layout(study, room, zoom, dense) {
  const { I, H, V } = study.network.sizes, T = study.x.length, cell = CELLS[study.network.cell];
  const gated = cell.gates.length > 1, least = T <= MOST_READABLE && Math.max(I, H, V) <= 16 ? READABLE[Number(gated)] * Math.min(1, zoom) : 15;
  const column = Math.max(least, Math.min(128, ((room - MARGIN - 12) / (T + 0.9)) * zoom));
  const digits = LEVELS.find(([least]) => column >= least)?.[1] ?? 0;
  const numbered = (kind, count) => digits && count <= 16 && !(dense && zoom <= 1 && (kind === "x" || kind === "o"));
  const unit = (count, kind = "s") => (numbered(kind, count) ? 20 : Math.max(4, Math.min(dense ? 9 : 13, 190 / count)));
  const gates = gated ? cell.gates.filter((name) => !["g", "n"].includes(name)) : [];
  const height = { o: V * unit(V, "o"), s: H * unit(H), x: I * unit(I, "x") };
  const states = cell.states.length, memory = states > 1 ? height.s + 22 : 0;
  const gap = dense ? 25 : GAP, y = { E: TOP, o: TOP + 26 + gap };
  y.s = y.o + height.o + gap + 8;
  y.c = y.s + height.s + 22;
  y.x = y.s + height.s + memory + GAP + 8;
  const bottom = y.x + height.x + 46;
  const strip = gates.length ? Math.min(12, (column * 0.36) / gates.length) : 0;
  const wide = Math.max(9, column - Math.max(6, Math.min(46, column * 0.38)) - strip * gates.length * 0.5);
  return { T, I, gap, H, V, column, digits, tight: wide < TIGHT, unit, gates, strip, wide, y, height, bottom, states, left: MARGIN + wide / 2 + column * 0.25 };
}

export function createPicture(host, study, { onHover, onSelect }) {
  const root = svg("svg", { class: "picture", role: "group", "aria-label": "The network unrolled in time" });
  host.append(root);
  const width = widthOf(host, 700);
  let nodes = new Map(), key = "", view = null, zoom = 1, focused = "s:0", backward = null;

  const columnX = (t) => view.left + (t + 0.75) * view.column;
  const id = (kind, t) => `${kind}:${t}`;

  function vector(kind, t, x, y, count) {
    const unit = view.unit(count, kind), wide = view.wide;
    const numbers = view.digits && unit > 15;
    const rows = Array.from({ length: count }, (_, i) => {
      const place = { x: x - wide / 2, y: y + i * unit, width: wide, height: unit - (unit > 6 ? 1 : 0), rx: numbers ? 3 : 1 };
      const rect = svg("rect", { class: "unit", ...place });
      const text = numbers && svg("text", { x, y: y + i * unit + unit / 2 + 4, "text-anchor": "middle", class: "value" });
      const hit = svg("rect", {
        ...place, class: "hit", onmouseenter: () => onHover({ kind, t, i }), onmouseleave: () => onHover(null),
        onclick: () => choose(kind, t, i),
      });
      return { rect, text, hit };
    });
    const frame = svg("rect", {
      x: x - wide / 2 - 3, y: y - 3, width: wide + 6, height: count * unit + 5, rx: 6, class: `frame frame-${kind}`,
    });
    const group = svg("g", {
      class: "node", tabindex: -1, role: "button", onkeydown: (event) => walk(event, kind, t),
      onfocus: () => onHover({ kind, t, i: study.selected.kind === kind ? Math.min(study.selected.i, count - 1) : 0 }),
      onblur: () => onHover(null),
    }, frame, rows.map(({ rect, text, hit }) => [rect, text, hit]));
    nodes.set(id(kind, t), { group, rows, kind, t, count });
    return group;
  }

  function choose(kind, t, i) {
    focused = id(kind, t);
    rove();
    onSelect({ kind, t, i });
  }

  function rove() {
    if (!nodes.has(focused)) focused = "s:0";
    for (const [name, node] of nodes) node.group.setAttribute("tabindex", name === focused ? 0 : -1);
  }

  // Left and right: the steps; up and down: the units, then the layers; Enter: keep this equation.
  function walk(event, kind, t) {
    const order = ["x", "s", "o", "E"], i = study.selected.kind === kind && study.selected.t === t ? study.selected.i : 0;
    const count = nodes.get(id(kind, t)).count;
    let to = null;
    if (event.key === "ArrowRight") to = [kind, t + 1, i];
    else if (event.key === "ArrowLeft") to = [kind, t - 1, i];
    else if (event.key === "ArrowDown") to = i + 1 < count ? [kind, t, i + 1] : [order[order.indexOf(kind) - 1], t, 0];
    else if (event.key === "ArrowUp") to = i > 0 ? [kind, t, i - 1] : [order[order.indexOf(kind) + 1], t, 0];
    else if (event.key === "Enter" || event.key === " ") to = [kind, t, i];
    if (!to) return;
    event.preventDefault();
    if (!nodes.has(id(to[0], to[1]))) return;
    choose(...to);
    nodes.get(focused).group.focus({ preventScroll: false });
    onHover({ kind: to[0], t: to[1], i: to[2] });
  }

  const arrow = (x1, y1, x2, y2, name) => svg("line", { x1, y1, x2, y2, class: `arrow arrow-${name}`, "marker-end": "url(#head)" });
  const label = (x, y, text, name) => svg("text", { x, y, class: `weight weight-${name}` }, text);

  function drawStep(t) {
    const { y, height, column, wide } = view, x = columnX(t), roomy = column >= 40;
    const parts = [
      arrow(x, y.x - 5, x, y.x - GAP - 3, "U"), arrow(x, y.s - 5, x, y.s - view.gap - 3, "V"),
      arrow(x, y.o - 5, x, y.E + 30, "E"),
      arrow(x - column + wide / 2 + 4 + view.strip * view.gates.length, y.s + height.s / 2, x - wide / 2 - 6, y.s + height.s / 2, "W"),
    ];
    if (view.states > 1) {
      parts.push(arrow(x - column + wide / 2 + 4, y.c + height.s / 2, x - wide / 2 - 6, y.c + height.s / 2, "c"));
    }
    if (roomy || t === 0) {
      parts.push(label(x + 6, y.x - 8, "U", "U"), label(x + 6, y.s - view.gap / 2 + 2, "V", "V"));
      const between = x - column / 2 + (view.strip * view.gates.length) / 2;
      if (column - wide - view.strip * view.gates.length >= 18) parts.push(svg("text", { x: between, y: y.s + height.s / 2 - 7, class: "weight weight-W", "text-anchor": "middle" }, "W"));
    }
    parts.push(vector("x", t, x, y.x, view.I), vector("s", t, x, y.s, view.H), vector("o", t, x, y.o, view.V));
    if (view.states > 1) parts.push(vector("c", t, x, y.c, view.H));
    parts.push(...drawGates(t, x), errorNode(t, x));
    const word = svg("text", { x, y: y.x + height.x + 20, "text-anchor": "middle", class: "symbol" });
    nodes.get(id("x", t)).symbol = word;
    const index = svg("text", { x, y: y.x + height.x + 38, "text-anchor": "middle", class: "step" }, roomy ? `t = ${t + 1}` : t + 1);
    const every = column >= 26 || t % Math.ceil(26 / column) === 0;
    return [parts, word, every && index];
  }

  function drawGates(t, x) {
    const start = x + view.wide / 2 + 5, unit = view.unit(view.H);
    return view.gates.map((name, n) => {
      const left = start + n * view.strip, bars = svg("path", { class: "gate" }); // one path: cheap to draw anew
      nodes.set(`gate-${name}:${t}`, { bars, gate: name, t, group: svg("g"), left, unit });
      const frame = svg("rect", { x: left, y: view.y.s - 1, width: Math.max(1, view.strip - 2), height: view.H * unit + 1, class: "gate-back" });
      const letter = view.strip >= 6 && svg("text", { x: left + view.strip / 2 - 1, y: view.y.s - 6, "text-anchor": "middle", class: "gate-name" }, name);
      return [frame, bars, letter];
    });
  }

  function errorNode(t, x) {
    const wide = Math.max(12, Math.min(64, view.column - 4));
    const box = svg("rect", { x: x - wide / 2, y: view.y.E, width: wide, height: 26, rx: 13, class: "unit error-box" });
    const text = view.digits ? svg("text", { x, y: view.y.E + 17, "text-anchor": "middle", class: "value" }) : null;
    const target = svg("text", { x, y: view.y.E - 9, "text-anchor": "middle", class: "target" });
    const group = svg("g", {
      class: "node", tabindex: -1, role: "button", onkeydown: (event) => walk(event, "E", t),
      onfocus: () => onHover({ kind: "E", t, i: 0 }), onblur: () => onHover(null),
      onmouseenter: () => onHover({ kind: "E", t, i: 0 }), onmouseleave: () => onHover(null), onclick: () => choose("E", t, 0),
    }, box, text);
    nodes.set(id("E", t), { group, box, text, target, kind: "E", t, count: 1, rows: [] });
    return [group, target];
  }

  function initialState() {
    const { y, height, column } = view, x = columnX(-1);
    const parts = [vector("s", -1, x, y.s, view.H), svg("text", { x, y: y.s - 8, "text-anchor": "middle", class: "step" }, "s₀")];
    if (view.states > 1) parts.push(vector("c", -1, x, y.c, view.H));
    const names = [["E", y.E + 17], ["o", y.o + height.o / 2 + 5], ["s", y.s + height.s / 2 + 5], ["x", y.x + height.x / 2 + 5]];
    if (view.states > 1) names.push(["c", y.c + height.s / 2 + 5]);
    const rows = names.map(([name, at]) => svg("text", { x: 6, y: at, class: "row-name" }, name, svg("tspan", { class: "index", dy: 3 }, "t")));
    return [parts, column > 0 && rows];
  }

  function backwardArrows() {
    return Array.from({ length: view.T }, (_, t) => {
      const y = view.y.s + view.height.s + (view.states > 1 ? view.height.s + 34 : 12), x = columnX(t);
      const line = svg("path", { class: "back", d: `M ${x - 8} ${y} C ${x - view.column / 3} ${y + 13} ${x - view.column * 0.7} ${y + 13} ${x - view.column + 9} ${y + 1}`, "marker-end": "url(#back-head)" });
      const text = view.column >= 72 ? svg("text", { x: x - view.column / 2, y: y + 24, "text-anchor": "middle", class: "back-factor" }) : null;
      const down = svg("line", { x1: x - 8, x2: x - 8, y1: view.y.o + view.height.o + 6, y2: view.y.s - 8, class: "back", "marker-end": "url(#back-head)" });
      nodes.set(`back:${t}`, { group: svg("g"), line, text, down, t });
      return [line, text, down];
    });
  }

  function build() {
    nodes = new Map();
    const width = columnX(view.T - 1) + view.wide / 2 + view.strip * view.gates.length + 14;
    const head = (name) => svg("marker", { id: name, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto", markerUnits: "userSpaceOnUse" }, svg("path", { d: "M0 0.5 L8 4 L0 7.5 z" }));
    root.replaceChildren(
      svg("defs", {}, head("head"), head("back-head")), ...[initialState(), Array.from({ length: view.T }, (_, t) => drawStep(t)), backwardArrows()].flat(6).filter(Boolean),
    );
    Object.entries({ width, height: view.bottom, viewBox: `0 0 ${width} ${view.bottom}` }).forEach(([k, v]) => root.setAttribute(k, v));
    rove();
  }

  const short = (value) => (view.tight ? fixed(value, view.digits).replace(/^(−?)0\./, "$1.") : fixed(value, view.digits));

  function put(node, values, limit, name) {
    for (const [i, row] of node.rows.entries()) {
      row.rect.setAttribute("fill", shade(values[i], limit));
      if (row.text) row.text.textContent = short(values[i]);
    }
    labels.push([node.group, name, values]);
  }

  // The labels for screen readers can wait until the numbers rest.
  let labels = [], resting = 0;
  function writeLabels() {
    for (const [group, name, values] of labels) {
      const list = values.length > 12 ? `${values.length} numbers` : Array.from(values, (v) => number(v, 2)).join(", ");
      group.setAttribute("aria-label", `${name}: ${list}`);
    }
  }

  const largest = (rows) => rows.reduce((top, row) => row.reduce((most, v) => Math.max(most, Math.abs(v)), top), 1e-12);

  function update() {
    const { tape, x, y, E, symbols, network } = study, T = x.length;
    labels = [];
    clearTimeout(resting);
    resting = setTimeout(writeLabels, LABELS_MS);
    const limits = {
      x: largest(x), o: largest(tape.steps.map((s) => s.o)), s: largest(tape.steps.map((s) => s.state[0])),
      c: network.initial.length > 1 ? largest(tape.steps.map((s) => s.state[1])) : 1,
    };
    put(nodes.get("s:-1"), network.initial[0], limits.s, "state s before the first step");
    if (nodes.has("c:-1")) put(nodes.get("c:-1"), network.initial[1], limits.c, "memory c before the first step");
    const worst = Math.max(...E, 1e-12);
    for (let t = 0; t < T; t++) {
      const step = tape.steps[t], at = `at step ${t + 1}`;
      put(nodes.get(id("x", t)), x[t], limits.x, `input x ${at}`);
      put(nodes.get(id("s", t)), step.state[0], limits.s, `state s ${at}`);
      put(nodes.get(id("o", t)), step.o, limits.o, `output o ${at}`);
      if (nodes.has(id("c", t))) put(nodes.get(id("c", t)), step.state[1], limits.c, `memory c ${at}`);
      nodes.get(id("x", t)).symbol.textContent = symbols ? symbols[x[t].indexOf(Math.max(...x[t]))] : "";
      const error = nodes.get(id("E", t)), goal = y[t].indexOf(Math.max(...y[t]));
      error.box.setAttribute("fill", paint("--error", (Math.max(0, E[t]) / worst) * 0.5));
      if (error.text) error.text.textContent = fixed(E[t], Math.min(2, view.digits));
      error.target.textContent = symbols ? symbols[goal] : "";
      labels.push([error.group, `error E ${at}`, [E[t]]]);
      const hot = y[t].every((v, i) => v === (i === goal ? 1 : 0));
      nodes.get(id("o", t)).rows.forEach((row, i) => row.rect.classList.toggle("is-target", hot && i === goal && view.V > 1));
      for (const name of view.gates) {
        const { bars, left, unit } = nodes.get(`gate-${name}:${t}`), open = step.kept[name];
        const wide = Math.max(1, view.strip - 2).toFixed(1);
        let outline = "";
        for (let i = 0; i < view.H; i++) {
          const high = Math.max(0.5, (unit - 1) * open[i]).toFixed(1);
          outline += `M${left.toFixed(1)} ${(view.y.s + i * unit + unit - 1).toFixed(1)}h${wide}v-${high}h-${wide}z`;
        }
        bars.setAttribute("d", outline);
      }
    }
    updateBackward();
    markSelection();
  }

  // Shows the way back from step `from` to step `to`, with the factor by which each step scales the error.
  function updateBackward() {
    for (let t = 0; t < view.T; t++) {
      const { line, text, down } = nodes.get(`back:${t}`);
      const on = backward !== null && t <= backward.from && t > backward.to, all = backward?.all;
      line.classList.toggle("on", on);
      down.classList.toggle("on", backward !== null && (all ? t > backward.to || t === backward.from : t === backward.from));
      if (!text) continue;
      text.classList.toggle("on", on);
      if (on) text.textContent = `×${number(factor(t), 2)}`;
    }
  }

  function factor(t) {
    const d = backward.all ? null : study.pairs[backward.from];
    if (d) return stateNorm(d[t - 1].state) / (stateNorm(d[t].state) || 1);
    const mean = (k) => study.pairs.slice(t).reduce((sum, row) => sum + stateNorm(row[k].state), 0);
    return mean(t - 1) / (mean(t) || 1);
  }

  function markSelection() {
    const { kind, t, i } = study.selected;
    for (const node of nodes.values()) {
      node.rows?.forEach((row, n) => row.rect.classList.toggle("selected", node.kind === kind && node.t === t && n === i));
      node.box?.classList.toggle("selected", node.kind === kind && node.t === t);
    }
  }

  let dense = false;
  function draw(options) {
    dense = options?.dense ?? dense;
    const { sizes, cell } = study.network;
    const room = width();
    const next = [cell, sizes.I, sizes.H, sizes.V, study.x.length, room, zoom, dense].join();
    if (next !== key) {
      key = next;
      view = layout(study, room, zoom, dense);
      build();
    }
    update();
  }

  return {
    draw, markSelection,
    setZoom(value) { zoom = value; draw(); },
    setBackward(value) { backward = value; updateBackward(); },
  };
}
