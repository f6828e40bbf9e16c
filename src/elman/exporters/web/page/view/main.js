// The page of a model: it loads the folder that it lies in and shows the view of its recipe.
import { loadModel } from "../model/load.js";
import { showClassifier } from "./classifier.js";
import { element } from "./elements.js";
import { showForecaster } from "./forecaster.js";
import { showLanguageModel } from "./language_model.js";
import { startTheme } from "./theme.js";
import { showTranscriber } from "./transcriber.js";

const RECIPES = {
  "language-model": { kind: "Language model", show: showLanguageModel },
  classify: { kind: "Classifier", show: showClassifier },
  forecast: { kind: "Forecaster", show: showForecaster },
  transcribe: { kind: "Transcriber", show: showTranscriber },
};
const CELLS = { lstm: "LSTM", gru: "GRU", rnn_tanh: "RNN", rnn_relu: "RNN (relu)", rnn_sigmoid: "RNN (sigmoid)", rnn_identity: "linear RNN" };

const find = (id) => document.getElementById(id);

function facts({ recurrent, parameters, weights }) {
  const { cell, layers, directions, hidden_size: units } = recurrent;
  const both = directions > 1 ? ", both directions" : "";
  const count = parameters < 1e6 ? `${Math.ceil(parameters / 1e3)} thousand` : `${(parameters / 1e6).toFixed(1)} million`;
  const size = `${count} parameters, ${weights.bytes < 1e6 ? `${Math.ceil(weights.bytes / 1e3)} kB` : `${(weights.bytes / 1e6).toFixed(1)} MB`}`;
  return `${CELLS[cell]}, ${layers > 1 ? `${layers} layers of ` : ""}${units} units${both} · ${size}`;
}

async function start() {
  startTheme(find("theme"));
  const { manifest, model } = await loadModel(new URL("../../", import.meta.url));
  const { kind, show } = RECIPES[manifest.recipe];
  document.title = `${manifest.title} · ${kind}`;
  find("kind").textContent = kind;
  find("title").textContent = manifest.title;
  find("facts").textContent = facts(manifest);
  find("footer").append(element("span", {}, `elman ${manifest.elman}${manifest.run ? ` · run ${manifest.run.slice(0, 12)}` : ""}`));
  const page = find("page");
  page.replaceChildren();
  show(page, manifest, model);
  page.dataset.ready = "true";
}

start().catch((error) => {
  find("title").textContent = "The model cannot be opened";
  find("notice")?.replaceChildren(String(error.message ?? error));
  throw error;
});
