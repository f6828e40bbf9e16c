// Backpropagation through time, taken apart: the pairs (t, k), one pair opened, the gradient by lag, and the cures.
import { norm } from "./cells.js";
import { contribution, contributionNorm, jacobian, stateNorm } from "./network.js";
import { stretchOf } from "./matrices.js";
import { createCures } from "./cures.js";
import { chart } from "./chart.js";
import { button, calm, element, heatMatrix, number, paint, select, sub, svg, widthOf } from "./dom.js";

const variable = (name, index) => element("var", {}, ...sub(name, index));
const STEP_MS = 700;
const DECADES = [2, 6]; // of the colours of the pairs: the least and the most
const REST_MS = 120; // after which the parts that are out of sight are drawn too

export function createGradient(host, study, { picture, changed }) {
  let name = "W", playing = 0, at = null;
  const canvas = element("canvas", { class: "pairs", tabindex: 0, role: "img", "aria-label": "The pairs", onclick: choose, onkeydown: move });
  const pairText = element("p", { class: "note", "aria-live": "polite" });
  const opened = element("div", { class: "opened" }), sums = element("div", { class: "sums" });
  const chartHost = element("div", { class: "charts" }), cures = createCures(study, changed);
  const play = button("▶ Play the way back", togglePlay, { class: "primary" });
  const status = element("span", { class: "note", role: "status" });
  const bar = element("div", { class: "row playbar" }, button("Show all", () => stop(null), {}), button("◀ One step back", () => oneStep()), play, status);
  const which = select([["W", "dE/dW"], ["U", "dE/dU"]], name, (value) => { name = value; draw(); }, "which gradient");
  host.append(
    bar,
    element("section", { class: "card", id: "pairs" }, element("h3", {}, "Every pair of an error and an earlier step"), element("p", { class: "note" }, "Row t: the error of that step. Column k: the step it is carried back to. A pair adds to ", which, "; choose one."), element("div", { class: "scroll" }, canvas), pairText),
    element("section", { class: "card", id: "pair" }, element("h3", {}, "One pair, opened"), opened),
    element("section", { class: "card wide", id: "cures" }, element("h3", {}, "Vanishing, exploding, and the cures"), cures.node, chartHost),
    element("section", { class: "card wide", id: "sums" }, element("h3", {}, "All pairs add up to the gradient"), sums),
  );

  const room = widthOf(canvas.parentElement, 300);
  const pair = () => {
    const T = study.x.length, t = Math.min(study.pair.t, T - 1);
    return { t, k: Math.min(study.pair.k, t) };
  };

  function open(t, k) {
    study.pair = { t: Math.max(0, Math.min(study.x.length - 1, t)), k };
    study.pair.k = Math.max(0, Math.min(study.pair.t, k));
    at = null;
    drawPairs();
    drawOpened();
    picture.setBackward({ from: study.pair.t, to: study.pair.k, all: false });
  }

  const cellSize = () => Math.max(5, Math.min(37, Math.floor((Math.min(460, room()) - 26) / study.x.length)));

  function choose(event) {
    const box = canvas.getBoundingClientRect(), size = cellSize();
    open(Math.floor((event.clientY - box.top - 18) / size), Math.floor((event.clientX - box.left - 22) / size));
  }

  function move(event) {
    const { t, k } = pair(), to = { ArrowUp: [t - 1, k], ArrowDown: [t + 1, k], ArrowLeft: [t, k - 1], ArrowRight: [t, k + 1] }[event.key];
    if (!to) return;
    event.preventDefault();
    open(...to);
  }

  function drawPairs() {
    const T = study.x.length, size = cellSize(), ratio = devicePixelRatio || 1, side = [T * size + 24, T * size + 20];
    const pixels = side.map((length) => Math.round(length * ratio)), pen = canvas.getContext("2d");
    if (canvas.width !== pixels[0] || canvas.height !== pixels[1]) {
      Object.assign(canvas, { width: pixels[0], height: pixels[1] });
      Object.assign(canvas.style, { width: `${side[0]}px`, height: `${side[1]}px` });
    }
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, ...side);
    const [cellColor, backColor, softColor, textColor, onBack] = ["--cell", "--back", "--soft", "--text", "--on-back"].map((name) => paint(name));
    const norms = study.pairs.map((row, t) => row.map((_, k) => contributionNorm(study.tape, study.pairs, t, k, name)));
    const top = norms.flat().reduce((most, v) => (Number.isFinite(v) ? Math.max(most, v) : most), 0), chosen = pair();
    const least = norms.flat().reduce((low, v) => (v > 0 ? Math.min(low, v) : low), top), span = Math.log10(top / least) || 0;
    const decades = Math.max(DECADES[0], Math.min(DECADES[1], span * 1.15));
    pen.font = `${Math.min(12, Math.max(8, size * 0.34))}px system-ui, sans-serif`;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    const every = Math.ceil(16 / size);
    for (let t = 0; t < T; t++) {
      for (let k = 0; k <= t; k++) {
        const v = norms[t][k], share = v > 0 ? Math.max(0, 1 + Math.log10(v / top) / decades) : 0;
        pen.globalAlpha = 1;
        pen.fillStyle = cellColor;
        pen.fillRect(22 + k * size, 18 + t * size, size - 1, size - 1);
        pen.globalAlpha = Math.min(1, share) * 0.85;
        pen.fillStyle = backColor;
        pen.fillRect(22 + k * size, 18 + t * size, size - 1, size - 1);
        pen.globalAlpha = 1;
        if (size >= 28) {
          pen.fillStyle = share > 0.7 ? onBack : textColor;
          pen.fillText(number(v, v < 0.1 ? 3 : 2).replace(/^0\./, "."), 22 + (k + 0.5) * size, 18 + (t + 0.5) * size);
        }
      }
      pen.fillStyle = softColor;
      if (t % every === 0) {
        pen.fillText(t + 1, 10, 18 + (t + 0.5) * size);
        pen.fillText(t + 1, 22 + (t + 0.5) * size, 8);
      }
    }
    pen.strokeStyle = textColor;
    pen.lineWidth = 2;
    pen.strokeRect(22 + chosen.k * size, 18 + chosen.t * size, size - 1, size - 1);
    const size_ = norms[chosen.t][chosen.k], text = `error at step ${chosen.t + 1}, carried back to step ${chosen.k + 1}: adds ${number(size_, 4)} to |dE/d${name}|`;
    canvas.setAttribute("aria-label", `The pairs as a triangle of colours; arrow keys choose one. Now: ${text}.`);
    pairText.textContent = `Now open: ${text}.`;
  }

  function drawOpened() {
    const { t, k } = pair(), { network, tape, pairs } = study, S = network.sizes.H * network.initial.length;
    const factors = [], small = S > 4 ? 5 : 0, cell = small ? Math.max(3, Math.min(14, 84 / S)) : 22;
    for (let j = t; j > k && factors.length < 12; j--) {
      const J = jacobian(network, tape.steps[j]), stretch = stretchOf(J, S);
      factors.push(figure(heatMatrix(J, S, S, `Jacobian of step ${j + 1}`, { cell }), [variable("∂s", j + 1), "/", variable("∂s", j)], `this error ×${number(stateNorm(pairs[t][j - 1].state) / (stateNorm(pairs[t][j].state) || 1), 2)}`, `another at most ×${number(stretch, 2)}`, `|error| now ${number(stateNorm(pairs[t][j - 1].state), 4)}`));
    }
    const hidden = t - k - factors.length, error = pairs[t][t].state[0];
    const start = figure(heatMatrix(error, 1, error.length, `gradient of E at step ${t + 1}`, { cell }), [variable("∂E", t + 1), "/", variable("∂s", t + 1)], "the error at its own step", `|error| ${number(stateNorm(pairs[t][t].state), 4)}`);
    const M = contribution(network, tape, pairs, t, k, name), rows = pairs[t][k].gh.length;
    const right = heatMatrix(M, rows, M.length / rows, `what the pair adds to dE/d${name}`, { digits: 3 });
    const given = name === "W" ? variable("s", k) : variable("x", k + 1);
    opened.replaceChildren(
      element("p", {}, "The error ", variable("E", t + 1), t === k ? " stays at its own step." : ` is carried ${t - k} ${t - k === 1 ? "step" : "steps"} back: each step multiplies it by a Jacobian.`),
      element("div", { class: "chain", role: "region", "aria-label": "the chain of Jacobians" }, join([start, ...factors, hidden > 0 ? element("span", { class: "note" }, `… ${hidden} more …`) : null, figure(svg("svg", { width: 1, height: 1, "aria-hidden": "true" }), [variable("∂⁺s", k + 1), `/∂${name}`], "direct effect of the weight", ["slope · ", given])].filter(Boolean))),
      element("div", { class: "row" }, element("span", {}, "What this pair adds to ", element("var", {}, `dE/d${name}`), `, norm ${number(norm(M), 4)}:`)), element("div", { class: "scroll" }, right),
    );
  }

  const figure = (picture, title, ...notes) => element("figure", { class: "factor" }, picture, element("figcaption", {}, element("b", {}, title), notes.map((note) => element("small", {}, note))));
  const join = (parts) => parts.map((part, n) => element("div", { class: "link" }, n ? element("span", { class: "times" }, "·") : null, part));

  function drawSums() {
    const { network, tape, pairs } = study, gradient = study.back.parameters[name], sum = new Float64Array(gradient.length);
    let count = 0;
    pairs.forEach((row, t) => row.forEach((_, k) => {
      contribution(network, tape, pairs, t, k, name).forEach((v, i) => (sum[i] += v));
      count++;
    }));
    const rows = pairs[0][0].gh.length, cols = gradient.length / rows;
    const apart = sum.reduce((most, v, i) => Math.max(most, Math.abs(v - gradient[i])), 0), large = rows * cols > 400;
    const limit = gradient.reduce((top, v) => Math.max(top, Math.abs(v)), 0);
    const show = (M, label) => (large ? element("span", { class: "result" }, `norm ${number(norm(M), 5)}`) : element("div", { class: "scroll" }, heatMatrix(M, rows, cols, label, { digits: 3, limit })));
    sums.replaceChildren(
      element("figure", {}, element("figcaption", {}, `Sum of all ${count} pairs`), show(sum, "sum of all pairs")), element("span", { class: "equals" }, "="),
      element("figure", {}, element("figcaption", {}, `dE/d${name} in one backward pass`), show(gradient, "gradient")),
      element("p", { class: "note" }, `Largest difference: ${number(apart, 3)}. Backpropagation through time computes the same sum with T = ${pairs.length} steps instead of T(T + 1)/2 = ${count} pairs, since every error that passes step k takes the same road from there.`),
    );
  }

  function drawChart() {
    const { left, added } = study.lags, bound = study.bound;
    const series = [{ name: "error that is left: the median of |∂Eₜ/∂sₖ| / |∂Eₜ/∂sₜ|", values: left, color: "var(--back)" }];
    if (Number.isFinite(bound)) series.push({ name: "bound: (steepest slope of f · largest stretch of W) to the power of the lag", values: left.map((_, lag) => bound ** lag), color: "var(--soft)", dashed: true });
    const contributed = [{ name: `part of dE/dW`, values: added, color: "var(--positive)", bars: true }];
    const least = Math.max(1e-12, Math.min(1, ...left.filter((v) => v > 0)) / 10);
    chartHost.replaceChildren(
      chart({ title: "How much of an error is left, by lag t − k", xTitle: "lag, in steps", series, logarithmic: true, least, height: 155, limits: [undefined, Math.max(1, ...left.filter(Number.isFinite)) * 1.0001] }),
      chart({ title: "What each lag adds to dE/dW", xTitle: "lag, in steps", height: 155, series: contributed }),
    );
  }

  // The way back: from the last error to the first step, one step at a time.
  function oneStep() {
    const T = study.x.length;
    at = at === null || at <= 0 ? T - 1 : at - 1;
    picture.setBackward({ from: T - 1, to: at === T - 1 ? T - 1 : at, all: true });
    const errors = T - at;
    status.textContent = `Step ${at + 1}: ${errors} ${errors === 1 ? "error has" : "errors have"} arrived; |∂E/∂s| = ${number(stateNorm(study.back.states[at]), 4)}. Over an arrow: the factor of all errors that pass, on average.`;
    return at > 0;
  }

  function stop(value) {
    clearInterval(playing);
    playing = 0;
    play.textContent = "▶ Play the way back";
    if (value === null) {
      at = null;
      status.textContent = "";
      picture.setBackward({ from: study.x.length - 1, to: 0, all: true });
    }
  }

  function togglePlay() {
    if (playing) return stop();
    if (calm()) {
      oneStep();
      return undefined;
    }
    at = null;
    play.textContent = "❚❚ Pause";
    oneStep();
    playing = setInterval(() => oneStep() || stop(), STEP_MS);
    return undefined;
  }

  // The parts in sight are drawn at once, the others when they are scrolled to or when the numbers rest.
  const parts = [["cures", drawChart], ["pairs", drawPairs], ["pair", drawOpened], ["sums", drawSums]].map(([id, drawPart]) => ({ node: document.getElementById(id), drawPart, heavy: ["pair", "sums"].includes(id), seen: true, due: true }));
  const watch = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const part = parts.find(({ node }) => node === target);
      part.seen = isIntersecting;
      if (isIntersecting && part.due && !(part.heavy && study.hurried)) drawNow(part);
    }
  });
  parts.forEach(({ node }) => watch.observe(node));

  function drawNow(part) {
    part.due = false;
    part.drawPart();
  }

  let rest = 0;
  function draw() {
    cures.draw();
    for (const part of parts) {
      part.due = true;
      if (part.seen && !(part.heavy && study.hurried)) drawNow(part);
    }
    clearTimeout(rest);
    if (parts.some(({ due }) => due)) rest = setTimeout(finish, REST_MS);
  }

  function finish() {
    study.hurried = false;
    if (host.offsetParent !== null) parts.filter(({ due }) => due).forEach(drawNow);
  }

  return {
    draw, open, stop,
    showAll: () => stop(null),
    play: () => { stop(null); togglePlay(); },
    leave: () => { stop(); picture.setBackward(null); parts.forEach((part) => (part.seen = true)); },
  };
}
