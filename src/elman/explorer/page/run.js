// A trained run: recorded activations of one sequence, the gates, what each output depends on, and its units.
import { chart } from "./chart.js";
import { MOST_LETTERS, openWeights, typedRun } from "./typed.js";
import { element, field, fixed, heatPixels, number, paint, select, shade } from "./dom.js";

const GATE_NAMES = { i: "input gate i", f: "forget gate f", o: "output gate o", r: "reset gate r", z: "update gate z" };
const STATE_NAMES = { h: "state s", c: "memory c" };
const BEST = 8;
const HORIZON = 0.01;

// Whole numbers in base64, as Python packed them.
export function unpacked({ scale, bits, base64 }) {
  const text = atob(base64), bytes = Uint8Array.from(text, (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float64Array.from({ length: (bytes.length * 8) / bits }, (_, n) => scale * (bits === 8 ? bytes[n] : view.getInt16(2 * n, true)));
}

// Correlation of each unit with a series, as [unit, r], the strongest first.
export function correlations(values, units, series) {
  const T = series.length, mean = series.reduce((a, b) => a + b, 0) / T;
  const spread = Math.sqrt(series.reduce((sum, v) => sum + (v - mean) ** 2, 0));
  return Array.from({ length: units }, (_, unit) => {
    let sum = 0, square = 0, product = 0;
    for (let t = 0; t < T; t++) sum += values[t * units + unit];
    for (let t = 0; t < T; t++) {
      const v = values[t * units + unit] - sum / T;
      square += v * v;
      product += v * (series[t] - mean);
    }
    return [unit, square > 0 && spread > 0 ? product / (Math.sqrt(square) * spread) : 0];
  }).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
}

// What a unit may follow: 1 at the steps whose name holds the pattern, or from one such step to the next.
export function pattern(names, text, mode) {
  const hits = names.map((name) => (text !== "" && name.includes(text) ? 1 : 0));
  if (mode !== "between") return hits;
  let inside = 0;
  return hits.map((hit) => (hit ? (inside = 1 - inside) : inside));
}

const visible = (name) => ({ "\n": "↵", " ": "␣", "\t": "⇥", "": "·" })[name] ?? name.trim();

export function createRun(host, recorded) {
  let run = recorded;
  const pick = { layer: Math.max(0, run.layers.findIndex((layer) => layer.depends.some((row) => row.length))), t: 0, unit: 0, show: "h", color: "depends" };
  const cache = new Map();
  // The address #run/LAYER/LAG of a diagnosis: this layer, and the error so many steps back.
  const [, named, lag] = /^#run\/([^/]*)\/(\d+)$/.exec(location.hash) ?? [];
  if (named) pick.layer = Math.max(0, run.layers.findIndex(({ name }) => encodeURIComponent(name) === named || name === decodeURIComponent(named)));
  const linked = named ? Number(lag) : 0;
  const layer = () => run.layers[pick.layer];
  pick.t = layer().reverse ? 0 : layer().steps - 1;
  const parts = { ...layer().states, ...layer().gates };
  if (!(pick.show in parts)) pick.show = Object.keys(parts)[0];

  function values(name) {
    const key = `${pick.layer} ${name}`;
    if (!cache.has(key)) {
      const numbers = { ...layer().states, ...layer().gates }[name];
      cache.set(key, ArrayBuffer.isView(numbers) ? numbers : unpacked(numbers));
    }
    return cache.get(key);
  }

  const controls = element("div", { class: "controls" }), strip = element("div", { class: "tokens", tabindex: 0, role: "listbox", "aria-label": "the sequence; arrow keys choose a step", onkeydown: walk });
  const heat = element("canvas", { class: "pairs", tabindex: 0, role: "img", onclick: (event) => choose(event, true), onmousemove: (event) => choose(event, false), onkeydown: walk });
  const readout = element("p", { class: "note", "aria-live": "polite" }), step = element("div", {}), unitChart = element("div", {}), found = element("div", { class: "found" });
  const word = element("input", { value: "", placeholder: "a symbol, such as “ or a space", "aria-label": "what a unit should follow", oninput: drawSearch });
  const mode = select([["at", "is at the symbol"], ["between", "is between two of them"]], "at", drawSearch, "how");
  host.append(
    element("p", { class: "note" }, ...about(run)),
    controls,
    element("section", { class: "card" }, element("h3", {}, "The sequence"), strip, readout),
    element("div", { class: "grid run-grid" },
      element("section", { class: "card" }, element("h3", {}, "What the step depends on, and what comes next"), step),
      element("section", { class: "card" }, element("h3", {}, "Search for a unit"), element("p", { class: "note" }, "Units whose value goes with something in the sequence: r is the correlation, −1 to 1."), element("div", { class: "row" }, word, mode), found),
      element("section", { class: "card wide" }, element("h3", {}, "Every unit over time"), element("p", { class: "note" }, "A row a unit, a column a step: blue is above zero, orange below. A gate is blue where it is open."), element("div", { class: "scroll heat", tabindex: -1 }, heat), unitChart),
    ),
  );

  function drawControls() {
    const names = [...Object.keys(layer().states).map((name) => [name, STATE_NAMES[name] ?? name]), ...Object.keys(layer().gates).map((name) => [name, GATE_NAMES[name] ?? name])];
    const unit = element("input", { type: "number", min: 1, max: layer().units, value: pick.unit + 1, "aria-label": "unit", onchange: () => setUnit((Math.round(unit.valueAsNumber) || 1) - 1) });
    controls.replaceChildren(
      field("Layer", select(run.layers.map(({ name, cell, units }, n) => [String(n), `${name}: ${cell}, ${units} units`]), String(pick.layer), (n) => { pick.layer = Number(n); again(); }, "layer")),
      field("Show", select(names, pick.show, (name) => { pick.show = name; draw(); }, "show")), field("Unit", unit),
      field("Colour the sequence by", select([["depends", "what the step depends on"], ["unit", "the unit"]], pick.color, (color) => { pick.color = color; drawStrip(); }, "colour")),
    );
    if (recorded.weights) {
      const text = element("input", { value: run === recorded ? "" : run.layers[0].inputs.join(""), placeholder: "type here; empty: the recorded sequence", maxlength: 2 * MOST_LETTERS, "aria-label": "a text for the model", onchange: () => type(text.value) });
      controls.append(field(`A text of yours, up to ${MOST_LETTERS} letters`, text));
    }
    controls.firstChild.classList.add("pair");
    controls.lastChild.classList.add("pair");
  }

  // A typed text takes the place of the recorded sequence; without one it comes back.
  let opened = null;
  function type(text) {
    opened ??= openWeights(recorded.weights);
    run = [...text].length ? { ...recorded, ...typedRun(opened, text, recorded.layers[0].name) } : recorded;
    cache.clear();
    pick.layer = 0;
    pick.t = layer().steps - (run === recorded || layer().steps < 2 ? 1 : 2); // the last step that has a target
    again();
  }

  function again() {
    pick.t = Math.min(pick.t, layer().steps - 1);
    pick.unit = Math.min(pick.unit, layer().units - 1);
    if (!(pick.show in { ...layer().states, ...layer().gates })) pick.show = "h";
    drawControls();
    draw();
  }

  function setUnit(unit) {
    pick.unit = Math.max(0, Math.min(layer().units - 1, unit));
    pick.color = "unit";
    drawControls();
    draw();
  }

  // How much the error of the chosen step is left at each step of time.
  function left() {
    const { depends, steps, reverse } = layer(), share = new Float64Array(steps);
    depends[pick.t].forEach((v, lag) => (share[reverse ? pick.t + lag : pick.t - lag] = v));
    return share;
  }

  // The step that a diagnosis speaks of, seen from the chosen one.
  const linkedStep = () => (linked ? (layer().reverse ? pick.t + linked : pick.t - linked) : -1);

  const nameOf = (t) => (layer().inputs.length ? layer().inputs[t] : String(t + 1));

  function drawStrip() {
    const { steps, units, depends } = layer(), now = values(pick.show), share = left(), gate = pick.show in layer().gates;
    const most = gate ? 1 : Array.from({ length: steps }, (_, t) => Math.abs(now[t * units + pick.unit])).reduce((a, b) => Math.max(a, b), 0);
    const children = Array.from({ length: steps }, (_, t) => {
      const v = now[t * units + pick.unit];
      const tint = pick.color === "unit" ? shade(v, most) : paint("--back", Math.min(1, Math.max(0, 1 + Math.log10(share[t] || 1e-9) / 3)) * 0.75);
      return element("span", { role: "option", "aria-selected": String(t === pick.t), class: `token${layer().inputs.length ? "" : " token-number"}${t === linkedStep() ? " token-linked" : ""}`, style: `--tint: ${tint}`, onclick: () => setStep(t) }, visible(nameOf(t)));
    });
    strip.replaceChildren(...children);
    const kind = pick.color === "unit" ? `${{ ...STATE_NAMES, ...GATE_NAMES }[pick.show] ?? pick.show}, unit ${pick.unit + 1}: blue above zero, orange below.` : depends[pick.t].length ? `The darker, the more the error of step ${pick.t + 1} depends on the state there; a thousandth is white.` : `Step ${pick.t + 1} has no error of its own, so nothing is known of what it depends on.`;
    const there = linkedStep() >= 0 && linkedStep() < steps ? ` The dotted step is ${linked} steps away, where the diagnosis looks: ${number(100 * share[linkedStep()], 2)} % of the error is left.` : "";
    readout.textContent = `Step ${pick.t + 1} of ${steps} is chosen. ${kind}${there}`;
  }

  function setStep(t) {
    pick.t = Math.max(0, Math.min(layer().steps - 1, t));
    drawStrip();
    drawStep();
    drawHeat();
  }

  function walk(event) {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!move || (event.currentTarget === strip && move[1])) return;
    event.preventDefault();
    if (move[0]) setStep(pick.t + move[0]);
    else setUnit(pick.unit + move[1]);
  }

  function drawStep() {
    const { depends, reverse } = layer(), lags = depends[pick.t], answers = run.answers.length === 1 ? run.answers[0] : run.answers[pick.t];
    const below = lags.findIndex((v) => v < HORIZON), horizon = !lags.length ? "" : below < 0 ? `More than 1 % of the error is left at each of these ${lags.length} steps.` : `Under 1 % of the error is left ${below} steps away.`;
    const bars = answers?.length ? element("div", { class: "bars", role: "img", "aria-label": answers.map(([name, p]) => `${name}: ${number(100 * p, 1)} %`).join(", ") }, answers.map(([name, p]) => [
      element("span", { class: "bar-name" }, visible(name)), element("span", { class: "bar" }, element("i", { style: `width: ${Math.max(0.5, 100 * p)}%` })), element("span", { class: "bar-value" }, p < 5e-4 ? "< 0.1 %" : `${fixed(100 * p, 1)} %`),
    ])) : null;
    const target = run.targets[pick.t];
    step.replaceChildren(...[
      lags.length ? chart({ title: `Error of step ${pick.t + 1}: how much is left ${reverse ? "in later steps" : "in earlier steps"}`, xTitle: `${reverse ? "steps later" : "steps back"}`, logarithmic: true, least: 1e-6, series: [{ name: "|∂Eₜ/∂sₖ| / |∂Eₜ/∂sₜ|, as elman diagnose measures it", values: lags, color: "var(--back)" }] }) : element("p", { class: "note" }, "No error begins at this step. Choose another step or layer."),
      horizon ? element("p", { class: "note" }, horizon) : null,
      bars ? element("h4", {}, run.answers.length === 1 ? "The answer to the whole sequence" : ["After ", element("b", {}, visible(nameOf(pick.t))), ", the model expects", target ? [" (it really is ", element("b", {}, visible(target)), ")"] : ""]) : null, bars,
    ].filter(Boolean));
  }

  let shape = { width: 1, height: 1 };
  function drawHeat() {
    const { units, steps } = layer(), now = values(pick.show), gate = pick.show in layer().gates;
    const most = gate ? 1 : now.reduce((top, v) => Math.max(top, Math.abs(v)), 1e-9);
    const image = heatPixels(now, units, steps, most, (unit, t) => t * units + unit);
    const small = element("canvas", { width: steps, height: units }), ratio = devicePixelRatio || 1;
    small.getContext("2d").putImageData(image, 0, 0);
    shape = { width: Math.max(4, Math.min(24, Math.floor((host.clientWidth - 50) / steps))), height: Math.max(1, Math.min(14, Math.round(300 / units))) };
    const [width, height] = [steps * shape.width, units * shape.height];
    Object.assign(heat, { width: width * ratio, height: height * ratio });
    Object.assign(heat.style, { width: `${width}px`, height: `${height}px` });
    const pen = heat.getContext("2d");
    pen.imageSmoothingEnabled = false;
    pen.drawImage(small, 0, 0, heat.width, heat.height);
    pen.scale(ratio, ratio);
    pen.strokeStyle = paint("--text");
    pen.strokeRect(pick.t * shape.width + 0.5, 0.5, shape.width - 1, height - 1);
    pen.strokeRect(0.5, pick.unit * shape.height - 0.5, width - 1, shape.height + 1);
    heat.setAttribute("aria-label", `${units} units over ${steps} steps; arrow keys choose a unit and a step. Unit ${pick.unit + 1} at step ${pick.t + 1}: ${number(now[pick.t * units + pick.unit])}`);
  }

  function choose(event, keep) {
    const box = heat.getBoundingClientRect(), { steps, units } = layer();
    const t = Math.floor((event.clientX - box.left) / shape.width), unit = Math.floor((event.clientY - box.top) / shape.height);
    if (t < 0 || t >= steps || unit < 0 || unit >= units) return;
    heat.title = `unit ${unit + 1}, step ${t + 1} ${visible(nameOf(t))}: ${number(values(pick.show)[t * units + unit])}`;
    if (!keep) return;
    pick.t = t;
    setUnit(unit);
  }

  function drawUnit() {
    const { units, steps } = layer(), name = { ...STATE_NAMES, ...GATE_NAMES }[pick.show] ?? pick.show, now = values(pick.show);
    const series = [{ name: `${name}, unit ${pick.unit + 1}`, values: Array.from({ length: steps }, (_, t) => now[t * units + pick.unit]), color: "var(--positive)", from: 1 }];
    unitChart.replaceChildren(chart({ title: `Unit ${pick.unit + 1} over time`, xTitle: "step", height: 170, wide: host.clientWidth > 700, series }));
  }

  function drawSearch() {
    const { inputs, units, steps } = layer();
    if (!inputs.length) {
      found.replaceChildren(element("p", { class: "note" }, "The steps of this sequence are numbers, without names to search for."));
      return;
    }
    if (word.value === "") {
      const common = [...new Set(inputs)].map((name) => [name, inputs.filter((other) => other === name).length]).filter(([, count]) => count > 1).sort((a, b) => b[1] - a[1]).slice(0, BEST);
      found.replaceChildren(element("div", { class: "row" }, "Try ", common.map(([name]) => element("button", { type: "button", onclick: () => { word.value = name; drawSearch(); } }, visible(name)))));
      return;
    }
    const series = pattern(inputs, word.value, mode.value), hits = series.filter(Boolean).length;
    if (!hits || hits === steps) {
      found.replaceChildren(element("p", { class: "note" }, hits ? "That is true at every step." : "It is nowhere in this sequence."));
      return;
    }
    const best = correlations(values(pick.show), units, series).slice(0, BEST);
    found.replaceChildren(element("p", { class: "note" }, `${hits} of ${steps} steps. The units that follow it best:`), element("div", { class: "row" }, best.map(([unit, r]) => element("button", { type: "button", "aria-pressed": String(unit === pick.unit), onclick: () => setUnit(unit) }, `${unit + 1}: r = ${number(r, 2)}`))));
  }

  function draw() {
    drawStrip();
    drawStep();
    drawHeat();
    drawUnit();
    drawSearch();
  }

  drawControls();
  return { draw };
}

function about(run) {
  const shown = run.layers[0]?.steps ?? 0, part = run.whole > shown ? ` The first ${shown} of ${run.whole} steps are shown.` : "";
  const kept = run.weights
    ? "This page holds recorded activations of one sequence, and the weights, since the model is small: type a text of yours, and it runs here."
    : "This page holds recorded activations of one sequence only, without the weights: to see another sequence, run elman explore again.";
  return [element("b", {}, run.recipe), `, ${run.parameters.toLocaleString("en")} weights. ${kept}${part}`];
}
