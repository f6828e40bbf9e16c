// The page: its data, its views, and what the lesson moves.
import { OUTPUT_LOSSES } from "./network.js";
import { compute, fittingTargets, newNetwork, resized, setRadius, setStart, typedStudy, wordSequence } from "./study.js";
import { createPicture } from "./picture.js";
import { equationOf } from "./equation.js";
import { createNumbers, sizeText } from "./numbers.js";
import { createGradient } from "./gradient.js";
import { createTraining } from "./training.js";
import { createRun } from "./run.js";
import { createLesson } from "./lesson.js";
import { button, calm, createNotice, element, field, forgetColors, number, select } from "./dom.js";

const CELL_CHOICES = [
  ["rnn_tanh", "plain, f = tanh"], ["rnn_relu", "plain, f = relu"], ["rnn_sigmoid", "plain, f = sigmoid"],
  ["rnn_identity", "plain, f = identity"], ["gru", "GRU"], ["lstm", "LSTM"],
];
const SLOW_PAIRS = 500_000; // entries of W times pairs, from which the opened pair and the sums wait until the numbers rest

const data = JSON.parse(document.getElementById("data").textContent);
const host = (id) => document.getElementById(id);
const study = typedStudy(data.network);
Object.assign(study, { selected: { kind: "s", t: Math.min(1, study.x.length - 1), i: 0 }, pair: { t: study.x.length - 1, k: Math.min(1, study.x.length - 1) }, clip: 0 });

const gated = () => ["gru", "lstm"].includes(study.network.cell);
let view = "network", hovered = null;

const picture = createPicture(host("picture"), study, {
  onHover(place) { hovered = place; drawEquation(); },
  onSelect(place) { study.selected = place; picture.markSelection(); drawEquation(); },
});
const numbers = createNumbers(host("numbers"), study, () => { study.own = true; redraw(); });
const gradient = createGradient(host("gradient"), study, { picture, changed });
const training = createTraining(host("training"), { openNetwork });
const notice = createNotice(host("notice"));
const run = data.run ? createRun(host("run"), data.run) : null;

function drawEquation() {
  const last = study.x.length - 1, place = hovered ?? { ...study.selected, t: Math.min(study.selected.t, last) };
  const sizes = { x: study.network.sizes.I, o: study.network.sizes.V, E: 1 };
  place.i = Math.min(place.i, (sizes[place.kind] ?? study.network.sizes.H) - 1);
  host("equation").replaceChildren(...equationOf(study, place, view === "gradient"));
}

function drawControls() {
  const { network } = study, kinds = Object.keys(OUTPUT_LOSSES);
  const size = (name, value, most, change) => {
    const input = element("input", { type: "number", min: 1, max: most, value, "aria-label": name, onchange: () => change(Math.max(1, Math.min(most, Math.round(input.valueAsNumber) || 1))) });
    return field(name, input);
  };
  const pair = (node) => { node.classList.add("pair"); return node; };
  const word = element("input", { value: study.symbols ? study.word : "", placeholder: "a word", maxlength: 61, "aria-label": "a word, whose letters are the input", onchange: () => typeWord(word.value.trim()) });
  host("controls").replaceChildren(
    pair(field("Cell and f", select(CELL_CHOICES, network.cell, (cell) => changed({ cell }), "cell"))),
    pair(field("g and the error", select(kinds, `${network.g}, ${network.error}`, (kind) => { const [g, error] = kind.split(", "); changed({ g, error }); }, "g and the error"))),
    field("Word", word), size("Steps", study.x.length, 60, (T) => changed({ T })), size("Units", network.sizes.H, 32, (H) => changed({ sizes: { H } })),
    size("Inputs", network.sizes.I, 32, (I) => changed({ sizes: { I } })), size("Outputs", network.sizes.V, 32, (V) => changed({ sizes: { V } })),
    field("Numbers", button("New random", () => changed({ seed: study.seed + 1 }))), field("Example", button("Back to it", () => restore())),
  );
}

// The network that the page opened with; numbers that the reader has changed can be brought back.
function restore() {
  const { selected, clip } = study;
  if (study.own) {
    const { network, x, y, symbols, word, seed, start } = study, mine = structuredClone({ network, x, y, symbols, word, seed, start });
    notice.offer("The example is back in place of your numbers.", "Bring mine back", () => {
      Object.assign(study, mine, { own: true });
      compute(study);
      newPair();
      drawControls();
      draw();
    });
  }
  Object.assign(study, typedStudy(data.network), { selected, clip, own: false });
  compute(study);
  newPair();
  drawControls();
  draw();
}

function typeWord(text) {
  const letters = [...text];
  if (letters.length < 2 || new Set(letters).size < 2) return;
  const sequence = wordSequence(text), size = sequence.symbols.length;
  resized(study, { sizes: { I: size, V: size }, T: letters.length - 1 });
  Object.assign(study, sequence);
  study.y = fittingTargets(study.network.error, study.y);
  compute(study);
  newPair();
  drawControls();
  draw();
}

// The longest way back that is not zero: s_0 is, so that W can do nothing at the first step.
function newPair() {
  study.pair = { t: study.x.length - 1, k: Math.min(1, study.x.length - 1) };
  if (view === "gradient") gradient.showAll();
}

// After a change of kind or size, or (without changes) of numbers that are in place already.
function changed(changes) {
  if (changes) {
    resized(study, changes);
    newPair();
    drawControls();
  }
  draw();
}

function redraw() {
  compute(study);
  draw();
}

function draw() {
  study.hurried = study.x.length ** 2 * study.network.parameters.W.length > SLOW_PAIRS;
  host("summary").textContent = sizeText(study);
  if (view === "network" || view === "gradient") {
    picture.draw({ dense: view === "gradient" });
    drawEquation();
  }
  if (view === "network") numbers.draw();
  if (view === "gradient") gradient.draw();
}

function openNetwork(network, x, y, task) {
  const copy = { ...network, parameters: Object.fromEntries(Object.entries(network.parameters).map(([name, p]) => [name, p.slice()])) };
  const word = task.symbols ? x.map((row) => task.symbols[row.indexOf(1)]).join("") : "";
  Object.assign(study, { network: copy, x, y, symbols: task.symbols ?? null, word });
  compute(study);
  drawControls();
  show("network");
  host("stage").scrollIntoView({ block: "start" });
}

const VIEWS = { network: "Network", gradient: "Gradient", training: "Training", ...(run ? { run: "Your run" } : {}) };
const tabs = Object.entries(VIEWS).map(([name, title]) => button(title, () => show(name), { role: "tab", id: `tab-${name}`, "aria-controls": `view-${name}` }));
host("tabs").append(...tabs);
host("tabs").addEventListener("keydown", (event) => {
  const now = tabs.indexOf(document.activeElement), step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (step && now >= 0) tabs[(now + step + tabs.length) % tabs.length].focus();
});

function show(name) {
  if (name !== view && view === "gradient") gradient.leave();
  if (name !== "training") training.stop();
  const fresh = name !== view;
  view = name;
  for (const tab of tabs) {
    const on = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", on);
    tab.tabIndex = on ? 0 : -1;
  }
  document.querySelectorAll("[data-views]").forEach((part) => (part.hidden = !part.dataset.views.split(" ").includes(name)));
  if (name === "run") run?.draw();
  else if (name === "training") training.draw();
  else draw();
  if (name === "gradient" && fresh) gradient.showAll();
  if (fresh) host("stage").scrollTop = 0;
}

// What the lesson can do, by name; each takes a text.
const actions = {
  show, word: typeWord, example: () => restore(), cell: (cell) => { if (study.network.cell !== cell) changed({ cell }); },
  kind: (kind) => { const [g, error] = kind.split("; "); changed({ g, error }); },
  steps: (T) => changed({ T: Number(T) }), units: (H) => changed({ sizes: { H: Number(H) } }),
  select: (text) => { const [kind, t, i] = text.split(" "); study.selected = { kind, t: Number(t) - 1, i: Number(i) - 1 }; hovered = null; picture.markSelection(); drawEquation(); },
  radius: (radius) => { setRadius(study, Number(radius)); changed(); }, start: (start) => { setStart(study, start); changed(); },
  pair: (text) => { const [t, k] = text.split(" ").map(Number); gradient.open(t - 1, k - 1); }, play: () => gradient.play(),
  entry: (text) => { const [name, at, value] = text.split(" "); study.network.parameters[name][Number(at)] = Number(value); study.own = true; redraw(); },
  gate: (bias) => { const { H } = study.network.sizes; study.network.parameters.b.fill(Number(bias), H, 2 * H); redraw(); },
  // Inputs of a largest weight: faint ones leave every unit on the steep part of f.
  inputs: (largest) => {
    const { parameters } = study.network, most = parameters.U.reduce((top, u) => Math.max(top, Math.abs(u)), 1e-9);
    parameters.U = parameters.U.map((u) => (u * Number(largest)) / most);
    if (!gated()) parameters.b.fill(0);
    redraw();
  },
  // Puts a part before the others of its view.
  first: (id) => { for (const name of ["pairs", "cures"]) host(name).classList.toggle("first", name === id); },
  // Scrolls the view, where it stands beside the lesson, to the end of a part.
  see: (id) => {
    const stage = host("stage"), part = host(id).getBoundingClientRect(), box = stage.getBoundingClientRect();
    if (stage.scrollHeight > stage.clientHeight) stage.scrollTop += Math.max(0, part.bottom - box.bottom + 16);
  },
  fresh() {
    const { g, error, sizes, cell } = study.network;
    study.network = newNetwork({ cell, g, error, ...sizes, seed: study.seed, start: "random" });
    study.start = "random";
    redraw();
  },
  task: (text) => { const [task, T, ...cells] = text.split(" "); training.set({ task, T: Number(T), cells }); }, train: () => training.start(),
};
// A chapter that is scrolled to leaves numbers that the reader has changed; one that is chosen begins with its example.
// On a narrow page the picture stands below the text: a word that moves it scrolls to what it moves.
const PLACES = { select: "picture", entry: "picture", word: "picture", play: "picture", pair: "pair", radius: "cures", start: "cures", gate: "cures", train: "training" };
function moved(text) {
  if (matchMedia("(min-width: 64rem)").matches) return;
  const names = text.split("|").map((part) => part.trim().split(" ")[0]), name = Object.keys(PLACES).findLast((key) => names.includes(key));
  if (!name) return;
  const back = scrollY, part = name === "train" ? document.querySelector("#training .charts") : host(PLACES[name]);
  part.scrollIntoView({ block: "start", behavior: calm() ? "auto" : "smooth" });
  notice.offer("", "↑ Back to the text", () => scrollTo({ top: back, behavior: "auto" }));
}
const lesson = createLesson(host("lesson"), actions, (name) => !study.own || ["show", "select", "pair", "see", "first"].includes(name), moved);

let zoom = 1;
const zoomBy = (factor) => { zoom = Math.max(0.5, Math.min(4, zoom * factor)); picture.setZoom(zoom); host("zoom").textContent = `${Math.round(zoom * 100)} %`; };
host("zoom-bar").append(button("−", () => zoomBy(1 / 1.25), { "aria-label": "smaller" }), element("output", { id: "zoom" }, "100 %"), button("+", () => zoomBy(1.25), { "aria-label": "larger" }));
if (data.check) host("check").textContent = `Computed in this page; E differs from the Python reference by ${number(Math.abs(study.total - data.check.error), 2)}.`;

document.body.classList.toggle("has-run", Boolean(run));
drawControls();
show(location.hash.startsWith("#run") && run ? "run" : data.view ?? "network");
lesson.begin();
let width = 0;
new ResizeObserver(() => {
  if (host("stage").clientWidth === width) return;
  width = host("stage").clientWidth;
  if (view !== "training") (view === "run" ? run.draw() : draw());
}).observe(host("stage"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { forgetColors(); show(view); });

// For measurements and tests.
window.elmanPage = {
  study, actions,
  // Milliseconds of a change: everything computed, drawn and laid out anew.
  milliseconds() {
    const begin = performance.now();
    study.network.parameters.W[0] += 1e-3;
    redraw();
    void document.body.offsetHeight;
    return performance.now() - begin;
  },
};
